"""Panels of a picture over epochs: lines in bands, axes, the legend, and what is said above."""

from __future__ import annotations

import bisect
import itertools
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdarts.errors import UserError
from rdarts.results import series
from rdarts.results.phases import Part
from rdarts.results.search_run import SearchRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = (3.6, 2.9)  # inches
PALE = 0.35  # how much of a line's colour is left where it is of a branch that was not chosen
LEAST_RANGE = 1e-5  # of an axis, as a share of what it shows
MOST_NOTES = 3  # searches that are named one by one


class NothingToPlot(UserError):
    """A picture that these runs have no numbers for."""


def band(
    axes: Axes,
    found: Sequence[Mapping[float, float]],
    label: str,
    style: dict[str, Any],
    runs: Sequence[SearchRun],
) -> None:
    """One line; or the mean of several, in a band from the lowest to the highest.

    Mean and band reach as far as all of them do. Those that are longer go on as thin lines. Where
    a phase or a branch of one ends, the line does.

    Args:
        axes (Axes): Where.
        found (Sequence[dict]): Epoch -> value, of each search.
        label (str): The line's name.
        style (dict): Its looks.
        runs (Sequence[SearchRun]): The searches.
    """
    x = sorted(set(found[0]).intersection(*found[1:]))
    columns = {key: [values[key] for values in found] for key in x}
    if len(found) > 1:
        label = f'{label} ({len(found)} seeds)'
        for piece in pieces(x, runs):
            low, high = ([of(columns[key]) for key in piece] for of in (min, max))
            axes.fill_between(piece, low, high, color=style['color'], alpha=0.15, linewidth=0)
        for values in found:
            rest = [key for key in sorted(values) if not x or key >= x[-1]]
            for piece in pieces(rest, runs):
                if len(piece) > 1:
                    thin = dict(style, marker=None)
                    axes.plot(piece, [values[key] for key in piece], linewidth=0.7, **thin)
    mean = {key: sum(column) / len(column) for key, column in columns.items()}
    line(axes, mean, runs, label=label, markersize=4, markevery=max(1, len(x) // 10), **style)


def line(
    axes: Axes, values: Mapping[float, float], runs: Sequence[SearchRun], label: str, **style: Any
) -> None:
    """A line over epochs, in pieces where searches are: pale of branches that were not chosen.

    Args:
        axes (Axes): Where.
        values (dict): Epoch -> value.
        runs (Sequence[SearchRun]): The searches that it is of; none where it is not over epochs.
        label (str): Its name.
        **style (Any): Its looks.
    """
    found = pieces(sorted(values), runs)
    pale = [bool(runs) and all(_left(run, piece[0]) for run in runs) for piece in found]
    named = pale.index(False) if False in pale else 0
    for number, piece in enumerate(found):
        axes.plot(
            piece,
            [values[epoch] for epoch in piece],
            label=label if number == named else None,
            alpha=PALE if pale[number] else None,
            **style,
        )


def pieces(epochs: Sequence[float], runs: Sequence[SearchRun]) -> list[list[float]]:
    """Epochs in order, apart where another phase or branch of a search begins."""
    breaks = sorted({end for run in runs for end in run.breaks})
    found: dict[int, list[float]] = {}
    for epoch in epochs:
        found.setdefault(bisect.bisect_left(breaks, epoch), []).append(epoch)
    return list(found.values())


def _left(run: SearchRun, epoch: float) -> bool:
    """Whether an epoch is of a branch that was not chosen."""
    part = run.part(epoch)
    return part is not None and part.chosen is False


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


def epoch_axis(axes: Axes, runs: Sequence[SearchRun]) -> None:
    """Whole epochs, and a thin line where a phase ends, dotted where a branch of one does."""
    axes.set_xlabel('epoch')
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    first, last = axes.dataLim.intervalx
    if first == last:
        axes.set_xlim(first - 0.5, last + 0.5)
    axes.grid(alpha=0.3)
    for epoch, dotted in sorted(phase_ends(runs).items()):
        style = (0, (1, 2)) if dotted else '-'
        axes.axvline(epoch + 0.5, color='#777777', linewidth=0.8, linestyle=style, zorder=0.5)


def query_axis(axes: Axes) -> None:
    """Whole queries."""
    axes.set_xlabel('query')
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)


def phase_ends(runs: Sequence[SearchRun]) -> dict[int, bool]:
    """Epochs after which another part of a search begins, and whether only a branch ends there."""
    found: dict[int, bool] = {}
    for run in runs:
        for part, following in itertools.pairwise(run.parts):
            within = part.phase == following.phase
            found[part.last] = found.get(part.last, True) and within
    return found


def places(
    runs: Sequence[SearchRun],
) -> tuple[list[str], Callable[[SearchRun, int], list[int | None]]]:
    """Columns of a CSV, and what stands in them of an epoch; none where no search has phases."""

    def of_epoch(run: SearchRun, epoch: int) -> list[int | None]:
        part = run.part(epoch)
        return [part and part.phase, part and part.branch]

    if not any(run.parts for run in runs):
        return [], lambda run, epoch: []
    return ['phase', 'branch'], of_epoch


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
        if note := series.near_uniform(run, run.last):
            seed = '' if run.seed is None else f', seed {run.seed}'
            name = f'{run.method}{seed}, ' if len(runs) > 1 else ''
            notes.append(f'{name}epoch {run.last["epoch"]}: {note}')
    if notes:
        if len(notes) > MOST_NOTES:
            notes = [f'{len(notes)} of {len(runs)} searches end with near-uniform weights']
        figure.suptitle('\n'.join(wrapped(note, figure) for note in notes), size=9)


def legend(figure: Figure, grid: Iterable[Axes], runs: Sequence[SearchRun]) -> None:
    """One legend for all panels, below them; it says which still run, and what their phases are."""
    handles: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    width = 0.7 + 0.075 * max(map(len, handles), default=0)  # of an entry, in inches
    columns = max(1, int(figure.get_figwidth() // width))
    notes = [note for note in (_running(runs), _phases(runs)) if note]
    title = '\n'.join(wrapped(note, figure) for note in notes)
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
        places = sorted(run.reached for run in mine if not run.ended)
        if places:
            some = f'{len(places)} of {len(mine)} seeds, ' if len(mine) > 1 else ''
            (axis, low), (other, high) = places[0], places[-1]
            if axis != other:
                reached = f'{axis} {low} to {other} {high}'
            elif low != high:
                reached = f'{dict(epoch="epochs", query="queries")[axis]} {low} to {high}'
            else:
                reached = f'{axis} {low}'
            notes.append(f'{method} ({some}{reached} so far)')
    return f'still running: {", ".join(notes)}' if notes else ''


def _phases(runs: Sequence[SearchRun]) -> str:
    """What thin lines and pale ones are; empty where no search has come to a second phase."""
    ends = phase_ends(runs)
    if not ends:
        return ''
    known = {tuple(run.parts) for run in runs if run.breaks}
    note = 'thin lines: where a phase ends'
    if len(known) == 1:
        parts = next(iter(known))
        note += f' ({"; ".join(f"{part.name}: {_span(part)}" for part in parts)})'
    if True in ends.values():
        note += '; dotted: where a branch ends; pale: branches that were not chosen'
    return note


def _span(part: Part) -> str:
    return f'{part.first} to {part.last}' if part.first < part.last else str(part.first)


def wrapped(text: str, figure: Figure) -> str:
    """In lines of small print that are no wider than the picture."""
    return textwrap.fill(text, int(figure.get_figwidth() / 0.075))
