"""The report of searches: one HTML file that needs nothing else."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdarts.benchmarks import NASBench201
from rdarts.engine.checkpoint import write_atomically
from rdarts.errors import UserError
from rdarts.genotypes import parse_genotype
from rdarts.visualization import series
from rdarts.visualization.genotype import Page, lay_out
from rdarts.visualization.search_log import SearchRun
from rdarts.visualization.series import DATASET_NAMES

TEMPLATE = Path(__file__).with_name('report.html')
MARK = '/*DATA*/'
MAX_BYTES = 2_900_000
RETRAIN = {'nas_bench_201': 'nb201_c10', 'cell': 'darts_c10'}  # by form of the genotype


def write_report(
    runs: Sequence[SearchRun], path: str | os.PathLike, table: NASBench201 | None = None
) -> None:
    """Write the report of one search, or of several side by side.

    It is one file of HTML, script and data, under 3 MB: of very long searches the slider leaves
    out epochs, and says so. The page asks nothing of any network and evaluates nothing of what it
    shows.

    Args:
        runs (Sequence[SearchRun]): Searches in one space, each with an epoch that has ended.
        path (str | PathLike): The file.
        table (NASBench201, optional): Gives what the cells reach where the log does not say.

    Raises:
        UserError: A log holds no epoch, or the file cannot be written.
    """
    every = 1
    while True:
        data = dict(runs=[_run(run, every) for run in runs], charts=_charts(runs, table))
        text = json.dumps(data, separators=(',', ':'), allow_nan=False)
        text = text.replace('<', '\\u003c')  # within <script> only `<` could end it
        page = TEMPLATE.read_text(encoding='utf-8').replace(MARK, text)
        longest = max(len(run.epochs) for run in runs)
        if len(page.encode()) <= MAX_BYTES or every >= longest:
            break
        every += 1
    try:
        write_atomically(Path(path), page.encode())
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror}') from None


def _run(run: SearchRun, every: int) -> dict[str, Any]:
    """What is shown of one search: every n-th epoch, and the last."""
    rows = [row for i, row in enumerate(run.epochs) if i % every == 0 or i + 1 == len(run.epochs)]
    drawings: dict[str, dict[str, Any]] = {}
    order = []
    for row in rows:
        text = row['genotype']
        if text not in drawings:
            page = lay_out(parse_genotype(text, run.space.name), run.space)
            drawings[text] = dict(genotype=text, **_drawing(page))
        order.append(list(drawings).index(text))
    return dict(
        name=run.method if run.seed is None else f'{run.method}, seed {run.seed}',
        folder=str(run.folder),
        seed=run.seed,
        space=run.space.name,
        dataset=run.dataset,
        ended=run.ended,
        max_epochs=(run.config.get('train_cfg') or {}).get('max_epochs'),
        epochs=[row['epoch'] for row in rows],
        left_out=len(run.epochs) - len(rows),
        drawings=list(drawings.values()),
        drawing=order,
        facts=[_facts(row) for row in rows],
        cells=_weights(run, rows),
        versions=next((r.get('versions') for r in run.rows if r['kind'] == 'start'), None) or {},
        seconds=next((row.get('time') for row in reversed(run.rows) if 'time' in row), None),
        config=run.config.pretty_text,
        commands=_commands(run),
    )


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of an epoch in words."""
    facts = dict(skips=row['skip_connections'], entropy=_short(row['mean_entropy']))
    if 'benchmark' in row:
        facts['index'] = row['benchmark']['index']
        facts['accuracy'] = {
            name: row['benchmark'][key]['test'] for key, name in DATASET_NAMES.items()
        }
    return facts


def _commands(run: SearchRun) -> list[str]:
    """How to go on."""
    folder = shlex.quote(str(run.folder))
    if not run.ended:
        return [f'python tools/train.py {folder}/config.py --work-dir {folder} --resume']
    commands = [f'python tools/analysis/draw_genotype.py {folder}']
    config = RETRAIN.get(run.space.genotype)
    if config is not None:
        commands.append(f'python tools/train.py configs/retrain/{config}.py --genotype {folder}')
    return commands


def _weights(run: SearchRun, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each cell type: its edges, its operations, and the weights of every shown epoch."""
    groups = {group.name: group for group in run.space.groups}
    found = []
    for cell, topology in run.space.cells.items():
        slots = run.space.slots(cell)
        operations = list(dict.fromkeys(o for edge in topology.edges for o in edge.candidates))
        found.append(
            dict(
                name=cell,
                operations=operations,
                edges=[f'{edge.source} → {edge.target}' for edge in topology.edges],
                columns=[
                    [operations.index(o) for o in groups[group].candidates] for group, _ in slots
                ],
                weights=[
                    [[_short(w) for w in row['weights'][group][index]] for group, index in slots]
                    for row in rows
                ],
            )
        )
    return found


def _drawing(page: Page) -> dict[str, Any]:
    """A page as plain data: inches from the upper left corner."""

    def at(x: float, y: float) -> list[float]:
        return [round(x, 3), round(page.height - y, 3)]

    lines, boxes, labels = [], [], []
    for panel, dx, dy in page.panels:
        for line in panel.lines:
            lines.append([[at(x + dx, y + dy) for x, y in line.points], _kind(line.look)])
        for label in panel.labels:
            labels.append([*at(label.x + dx, label.y + dy), label.width, label.text,
                           _kind(label.look)])  # fmt: skip
        for box in panel.boxes:
            boxes.append([*at(box.x + dx, box.y + dy), round(box.width, 3), box.text, box.outer])
    texts = [[*at(t.x, t.y), t.text, t.size, t.bold] for t in page.texts]
    samples = [[*at(x, y), _kind(look)] for x, y, look in page.samples]
    return dict(width=round(page.width, 3), height=round(page.height, 3), lines=lines, boxes=boxes,
                labels=labels, texts=texts, samples=samples)  # fmt: skip


def _kind(look: Mapping[str, Any]) -> list[str]:
    """Line, fill and text colour, and the line's style."""
    return [look['line'], look['fill'], look['text'], look['dot']]


def _short(value: float) -> float:
    return round(value, 4)


# Charts


def _charts(runs: Sequence[SearchRun], table: NASBench201 | None) -> list[dict[str, Any]]:
    """Lines over epochs: title, unit, and a line for each run and name."""
    space = runs[0].space
    found = []
    if space.genotype == 'nas_bench_201':
        marks = series.optima(table)
        for name, read in series.accuracies(table).items():
            title = f'The cell in the table, {name}'
            found.append((title, 'test accuracy, %', {'': read}, marks.get(name)))
    found += [
        ("Supernet on alpha's half", 'accuracy, %', {'': SearchRun.validation}, None),
        ('Losses', 'mean of an epoch, nats', series.losses(), None),
        ('Entropy of an edge', 'Σ -β ln β, nats', series.entropies(), None),
        ('Mean weight of an operation', 'β', series.kind_weights(), None),
        ('Skip connections', 'number', series.skips(space), None),
        ('Direction of BER', 'cosine of ∇L_val and ∇(L_val + λr)', series.cosines(space), None),
    ]
    charts = []
    for title, unit, readers, mark in found:
        lines = [
            dict(run=index, name=name, points=[[e, _short(v)] for e, v in sorted(values.items())])
            for name, read in readers.items()
            for index, run in enumerate(runs)
            if (values := read(run))
        ]
        if lines:
            charts.append(dict(title=title, unit=unit, lines=lines, mark=mark))
    return charts
