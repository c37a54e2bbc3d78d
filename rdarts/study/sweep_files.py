"""What a sweep has found: lines on the terminal, a CSV and a picture."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdarts.study.sweep import ERROR, FOLDER, Sweep, counts
from rdarts.utils.commands import command, shown_path
from rdarts.utils.files import write_atomically

if TYPE_CHECKING:
    import optuna

CSV, PICTURE = 'sweep.csv', 'sweep.png'
SHOWN = 10  # trials on the terminal
STATES = dict(COMPLETE='ended', PRUNED='pruned', FAIL='failed', RUNNING='running')


def trial_rows(study: optuna.Study, sweep: Sweep) -> list[dict[str, Any]]:
    """One row a trial, in the order of their numbers; what is not known is None.

    Args:
        study (optuna.Study): The study.
        sweep (Sweep): The sweep.
    """
    rows = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name not in STATES or not counts(trial):
            continue
        values = trial.intermediate_values
        value = (
            trial.value if trial.state.name == 'COMPLETE' else values.get(max(values, default=0))
        )
        rows.append(
            dict(
                trial=trial.number,
                state=STATES[trial.state.name],
                value=value,
                epochs=max(values, default=None),
                seconds=None if trial.duration is None else trial.duration.total_seconds(),
                **{one.key: trial.params.get(one.key) for one in sweep.parameters},
                folder=trial.user_attrs.get(FOLDER),
                error=trial.user_attrs.get(ERROR),
            )
        )
    return rows


def write_sweep(study: optuna.Study, sweep: Sweep) -> None:
    """Write the CSV and the picture; print the best trials, and the command that repeats the best.

    Args:
        study (optuna.Study): The study.
        sweep (Sweep): The sweep.
    """
    rows = trial_rows(study, sweep)
    folder = Path(sweep.work_dir)
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, rows[0].keys() if rows else ['trial'])
    table.writeheader()
    table.writerows(rows)
    write_atomically(folder / CSV, buffer.getvalue().encode())
    count = Counter(row['state'] for row in rows)
    print(f'\n{len(rows)} trials: ' + ', '.join(f'{n} {state}' for state, n in count.items()))
    ended = sorted((row for row in rows if row['state'] == 'ended'), key=lambda row: -row['value'])
    if not ended:
        return
    print('\n'.join(_lines(ended[:SHOWN], sweep)))
    draw_sweep(rows, sweep, folder / PICTURE)
    best = ended[0]
    options = sweep.options_of({one.key: best[one.key] for one in sweep.parameters})
    print(f'written: {shown_path(folder / CSV)}, {shown_path(folder / PICTURE)}')
    print(f'best:    {command("train.py", Path(sweep.config), "--cfg-options", *options)}')


def _lines(rows: list[dict[str, Any]], sweep: Sweep) -> list[str]:
    """A table of trials."""
    keys = [one.key for one in sweep.parameters]
    heads = ['trial', f'{sweep.goal} %', 'epochs', *(key.rpartition('.')[2] for key in keys)]
    cells = [
        [str(row['trial']), f'{row["value"]:.2f}', str(row['epochs'])]
        + [f'{row[key]:.4g}' if isinstance(row[key], float) else str(row[key]) for key in keys]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    return [
        '  '.join(text.rjust(width) for text, width in zip(line, widths, strict=True))
        for line in (heads, *cells)
    ]


def draw_sweep(rows: list[dict[str, Any]], sweep: Sweep, path: Path) -> None:
    """Draw the value over each parameter, and the best one so far over the trials.

    Args:
        rows (list[dict]): What :func:`trial_rows` gives.
        sweep (Sweep): The sweep.
        path (Path): The picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = 1 + len(sweep.parameters)
    figure = Figure(figsize=(3.2 * panels, 3), layout='constrained')
    FigureCanvasAgg(figure)
    first, *others = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    states = dict(ended=dict(color='C0'), pruned=dict(facecolors='none', edgecolors='C7'))
    shown = [row for row in rows if row['state'] in states and row['value'] is not None]
    best = None
    steps = []
    for row in shown:
        if row['state'] == 'ended':
            best = row['value'] if best is None else max(best, row['value'])
        steps.append(best)
    first.plot([row['trial'] for row in shown], steps, drawstyle='steps-post', color='C1')
    first.set(xlabel='trial', ylabel=f'{sweep.goal}, %')
    for axis, key in (
        (first, 'trial'),
        *zip(others, (p.key for p in sweep.parameters), strict=True),
    ):
        for state, look in states.items():
            some = [row for row in shown if row['state'] == state]
            x = [row[key] if _is_number(row[key]) else str(row[key]) for row in some]
            axis.scatter(x, [row['value'] for row in some], s=14, label=state, **look)
    for axis, parameter in zip(others, sweep.parameters, strict=True):
        axis.set_xlabel(parameter.key.rpartition('.')[2])
        if parameter.form == 'log':
            axis.set_xscale('log')
    first.legend(fontsize='small')
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=120)
    write_atomically(path, buffer.getvalue())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
