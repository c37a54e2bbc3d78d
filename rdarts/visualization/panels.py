"""Panels of a picture over epochs: lines in bands, axes, the legend, and what is said above."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdarts.errors import UserError
from rdarts.results import series
from rdarts.results.search_run import SearchRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = (3.6, 2.9)  # inches
LEAST_RANGE = 1e-5  # of an axis, as a share of what it shows
MOST_NOTES = 3  # searches that are named one by one


class NothingToPlot(UserError):
    """A picture that these runs have no numbers for."""


def band(
    axes: Axes, found: Sequence[Mapping[float, float]], label: str, style: dict[str, Any]
) -> None:
    """One line; or the mean of several, in a band from the lowest to the highest.

    Mean and band reach as far as all of them do. Those that are longer go on as thin lines.
    """
    x = sorted(set(found[0]).intersection(*found[1:]))
    columns = [[values[key] for values in found] for key in x]
    if len(found) > 1:
        label = f'{label} ({len(found)} seeds)'
        low, high = [min(column) for column in columns], [max(column) for column in columns]
        axes.fill_between(x, low, high, color=style['color'], alpha=0.15, linewidth=0)
        for values in found:
            rest = [key for key in sorted(values) if not x or key >= x[-1]]
            if len(rest) > 1:
                thin = dict(style, marker=None)
                axes.plot(rest, [values[key] for key in rest], linewidth=0.7, **thin)
    mean = [sum(column) / len(column) for column in columns]
    axes.plot(x, mean, label=label, markersize=4, markevery=max(1, len(x) // 10), **style)


def panel_grid(
    count: int, columns: int = 4, panel: tuple[float, float] = PANEL
) -> tuple[Figure, list]:
    from matplotlib.figure import Figure  # slow to import

    columns = min(count, columns)
    rows = -(-count // columns)
    size = (max(5.0, panel[0] * columns), panel[1] * rows + 0.6)
    figure = Figure(figsize=size, layout='constrained')
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]


def epoch_axis(axes: Axes) -> None:
    axes.set_xlabel('epoch')
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    first, last = axes.dataLim.intervalx
    if first == last:
        axes.set_xlim(first - 0.5, last + 0.5)
    axes.grid(alpha=0.3)


def fit(axes: Axes) -> None:
    """Let the lines fill the height, but for what is no more than rounding; plain numbers."""
    low, high = axes.dataLim.intervaly
    room = max(0.05 * (high - low), LEAST_RANGE / 2 * max(abs(low), abs(high)))
    axes.set_ylim(low - room, high + room)
    axes.ticklabel_format(axis='y', useOffset=False)


def say_uniform(figure: Figure, runs: Sequence[SearchRun]) -> None:
    """Above the picture: of which searches the last weights hardly differ."""
    notes = []
    for run in runs:
        if note := series.near_uniform(run, run.epochs[-1]):
            seed = '' if run.seed is None else f', seed {run.seed}'
            name = f'{run.method}{seed}, ' if len(runs) > 1 else ''
            notes.append(f'{name}epoch {run.epochs[-1]["epoch"]}: {note}')
    if notes:
        if len(notes) > MOST_NOTES:
            notes = [f'{len(notes)} of {len(runs)} searches end with near-uniform weights']
        figure.suptitle('\n'.join(wrapped(note, figure) for note in notes), size=9)


def legend(figure: Figure, grid: Iterable[Axes], runs: Sequence[SearchRun]) -> None:
    """One legend for all panels, below them; it says which of the searches still run."""
    handles: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    width = 0.7 + 0.075 * max(map(len, handles), default=0)  # of an entry, in inches
    columns = max(1, int(figure.get_figwidth() // width))
    title = wrapped(_running(runs), figure)
    lines = -(-len(handles) // columns) + len(title.splitlines())
    figure.set_figheight(figure.get_figheight() + 0.19 * max(0, lines - 1))
    figure.legend(
        handles.values(),
        handles,
        loc='outside lower center',
        ncols=columns,
        frameon=False,
        fontsize=9,
        title=title or None,
        title_fontsize=9,
    )


def _running(runs: Sequence[SearchRun]) -> str:
    """Which searches have not ended; empty where all have."""
    notes = []
    for method in dict.fromkeys(run.method for run in runs):
        mine = [run for run in runs if run.method == method]
        epochs = sorted(run.epochs[-1]['epoch'] for run in mine if not run.ended)
        if epochs:
            some = f'{len(epochs)} of {len(mine)} seeds, ' if len(mine) > 1 else ''
            low, high = epochs[0], epochs[-1]
            reached = f'epoch {low}' if low == high else f'epochs {low} to {high}'
            notes.append(f'{method} ({some}{reached} so far)')
    return f'still running: {", ".join(notes)}' if notes else ''


def wrapped(text: str, figure: Figure) -> str:
    """In lines of small print that are no wider than the picture."""
    return textwrap.fill(text, int(figure.get_figwidth() / 0.075))
