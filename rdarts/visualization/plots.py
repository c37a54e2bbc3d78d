"""Pictures of searches over epochs or queries, each with its numbers as CSV."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdarts.benchmarks import NASBench201
from rdarts.errors import UserError, nearest
from rdarts.genotypes import count_skips
from rdarts.results import series
from rdarts.results.row import tells_of_alpha
from rdarts.results.search_run import SearchRun
from rdarts.results.series import dataset_names, table_accuracy
from rdarts.results.settings import of_lambda_alone
from rdarts.utils.files import write_atomically
from rdarts.visualization.edge_plots import plot_edge_weights, plot_edges
from rdarts.visualization.panels import (
    NothingToPlot,
    band,
    epoch_axis,
    fit,
    legend,
    panel_grid,
    places,
    query_axis,
    say_uniform,
    wrapped,
)
from rdarts.visualization.query_plots import plot_queries, plot_values
from rdarts.visualization.style import line_style, picture_suffix, plain_style, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120
TABLE_ACCURACY = 'test accuracy of the cell (%)'
SKIPS, LAST_ENTROPY = 'skip connections', 'mean entropy at the end (nats)'
DISTRIBUTION_BINS = 100


@dataclass(frozen=True)
class Curve:
    """One line of one panel: a number of one run over its epochs, or its queries.

    Args:
        panel (str): Name of the panel.
        run (SearchRun): The run.
        values (dict[int, float]): Epoch, or query -> value.
    """

    panel: str
    run: SearchRun
    values: Mapping[int, float]


def plot_runs(
    runs: Sequence[SearchRun],
    name: str,
    path: str | os.PathLike,
    table: NASBench201 | None = None,
) -> None:
    """Draw one of ``PLOTS``, and write its numbers beside it as CSV.

    Args:
        runs (Sequence[SearchRun]): Searches in one space; see
            :func:`~rdarts.results.search_run.find_runs`.
        name (str): Which picture.
        path (str | PathLike): ``.png``, ``.svg`` or ``.pdf``; ``.csv`` is written beside it.
        table (NASBench201, optional): For ``accuracy``, ``lambda`` and ``distribution``.

    Raises:
        NothingToPlot: The runs have no such numbers; those that have none are left out where others
            have some.
        UserError: The name is not known, a log holds no epoch, or the file cannot be written.
    """
    if name not in PLOTS:
        raise UserError(f"no plot '{name}': {nearest(name, PLOTS)}")
    picture_suffix(path)
    shown = fitting(name, runs)
    with plain_style():
        figure, rows = PLOTS[name](shown, table)
        save_figure(figure, path, DPI)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator='\n').writerows(rows)
    numbers = Path(path).with_suffix('.csv')
    try:
        write_atomically(numbers, buffer.getvalue().encode())
    except OSError as error:
        raise UserError(f'cannot write {numbers}: {error.strerror}') from None


def fitting(name: str, runs: Sequence[SearchRun]) -> list[SearchRun]:
    """The searches that a picture can show.

    Args:
        name (str): Which of ``PLOTS``.
        runs (Sequence[SearchRun]): The searches.

    Raises:
        NothingToPlot: None is such a one.
        UserError: A log holds no epoch and no query, or a row is not well-formed.
    """
    of_epochs = [run for run in runs if run.epochs]
    asked = [run for run in runs if run.asks and run.queries.rows]
    if name in OF_QUERIES:
        found, what = asked, 'have asked nothing'
    elif name in OF_WHAT_WAS_FOUND:
        found, what = [r for r in runs if r in asked or not r.asks], 'have found nothing yet'
    elif name in OF_SUPERNETS:
        found, what = of_epochs, 'have no epochs: they ask'
    else:
        found = [run for run in of_epochs if all(map(tells_of_alpha, run.epochs))]
        what = 'have no alpha: they ask'
    if not found:
        raise NothingToPlot(f'these searches {what}')
    return found


# Lines over epochs


def _lines(
    runs: Sequence[SearchRun],
    readers: Mapping[str, series.Reader],
    ylabel: str,
    marks: Mapping[str, float] | None = None,
    missing: str = 'the logs hold no such numbers',
    apart: bool = False,
    axis: str = 'epoch',
) -> tuple[Figure, list[list[Any]]]:
    """A panel a name and a line a method; of one method, one panel with a line a name.

    Lines of one method that differ more from each other than over the epochs are kept ``apart``.
    Several seeds are their mean, in a band from the lowest to the highest. Over queries, no line
    ends where a phase does.
    """
    curves = [
        Curve(panel, run, values)
        for panel, read in readers.items()
        for run in runs
        if (values := read(run))
    ]
    if not curves:
        raise NothingToPlot(missing)
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    methods = list(dict.fromkeys(curve.run.method for curve in curves))
    # one panel for each mark: a mark belongs to a panel
    together = len(methods) == 1 and not marks and not apart
    figure, grid = panel_grid(1 if together else len(panels))
    for number, panel in enumerate(panels):
        axes = grid[0 if together else number]
        if not together and panel:
            axes.set_title(panel)
        if marks:
            axes.axhline(marks[panel], color='#555555', linewidth=1, linestyle=(0, (8, 3)))
            axes.set_title(f'{panel} (grey: optimum {marks[panel]:.2f})', size=10)
        for index, method in enumerate(methods):
            found = [c for c in curves if (c.panel, c.run.method) == (panel, method)]
            if found:
                label = (panel or method) if together else method
                style = line_style(number if together else index)
                shown = [c.run for c in found] if axis == 'epoch' else ()
                band(axes, [c.values for c in found], label, style, shown)
    for axes in grid:
        epoch_axis(axes, runs) if axis == 'epoch' else query_axis(axes)
    grid[0].set_ylabel(ylabel, size=9)
    legend(figure, grid, runs)
    optimum = ['optimum (%)'] if marks else []
    columns, place = places(runs if axis == 'epoch' else ())
    rows: list[list[Any]] = [['method', 'seed', 'panel', axis, ylabel, *optimum, *columns]]
    for curve in curves:
        run, best = curve.run, [marks[curve.panel]] if marks else []
        rows += [
            [run.method, run.seed, curve.panel, at, value, *best, *place(run, at)]
            for at, value in sorted(curve.values.items())
        ]
    return figure, rows


def _plot_accuracy(runs: Sequence[SearchRun], table: NASBench201 | None):
    """What the current cell reaches in the table, against the optimum (Fig. 2)."""
    table = _table(runs, table)
    readers = series.accuracies(table)
    return _lines(runs, readers, 'test accuracy of the current cell (%)', series.optima(table))


def _plot_best(runs: Sequence[SearchRun], table: NASBench201 | None):
    """What the best cell so far reaches in the table over the queries, against the optimum."""
    table = _table(runs, table)
    readers, label = series.best_accuracies(table), 'test accuracy of the best cell so far (%)'
    return _lines(runs, readers, label, series.optima(table), axis='query')


def _table(runs: Sequence[SearchRun], table: NASBench201 | None) -> NASBench201:
    if runs[0].space.table is None:
        raise NothingToPlot(f"no table holds cells of the space '{runs[0].space.name}'")
    if table is None:
        raise NothingToPlot('there is no NAS-Bench-201 table: set RDARTS_DATA or --table')
    return table


def _plot_numbers(runs: Sequence[SearchRun], table: NASBench201 | None):
    """What a method changes over the epochs, and what its architect says of its steps."""
    missing = 'these methods have no number that may change over the epochs'
    readers = {**series.numbers(runs), **series.steps(runs)}
    return _lines(runs, readers, 'value in an epoch', missing=missing, apart=True)


def _plot_supernet(runs: Sequence[SearchRun], table: NASBench201 | None):
    readers = {'': SearchRun.validation}
    label = "supernet's accuracy, alpha's half (%)"
    return _lines(runs, readers, label, missing='no validation has ended')


def _plot_losses(runs: Sequence[SearchRun], table: NASBench201 | None):
    return _lines(runs, series.losses(), 'loss, mean of an epoch (nats)')


def _plot_cosine(runs: Sequence[SearchRun], table: NASBench201 | None):
    readers = series.cosines(runs[0].space)
    label = 'cosine of ∇L_val and ∇(L_val + Σ λR)'
    figure, rows = _lines(runs, readers, label, missing='no step of alpha was logged')
    for axes in figure.axes:
        low, high = axes.get_ylim()
        if high - low < 1e-4:  # without a regulariser it is 1 but for rounding
            axes.set_ylim((low + high) / 2 - 0.05, (low + high) / 2 + 0.05)
    return figure, rows


def _plot_weights(runs: Sequence[SearchRun], table: NASBench201 | None):
    figure, rows = _lines(runs, series.kind_weights(), 'mean weight β of an operation')
    for axes in figure.axes:
        fit(axes)
    say_uniform(figure, runs)
    return figure, rows


def _plot_entropy(runs: Sequence[SearchRun], table: NASBench201 | None):
    label = 'mean of Σ -β ln β over edges (nats)'
    figure, rows = _lines(runs, series.entropies(), label, apart=True)
    for axes in figure.axes:
        fit(axes)
    say_uniform(figure, runs)
    return figure, rows


def _plot_leaders(runs: Sequence[SearchRun], table: NASBench201 | None):
    figure, rows = _lines(runs, {'': series.leaders}, 'edges still led as after epoch 1 (%)')
    figure.axes[0].set_ylim(-2, 102)
    say_uniform(figure, runs)
    return figure, rows


def _plot_skips(runs: Sequence[SearchRun], table: NASBench201 | None):
    figure, rows = _lines(runs, series.skips(runs[0].space), 'skip connections')
    for axes in figure.axes:
        axes.set_ylim(-0.1, max(1.1, axes.get_ylim()[1]))
        axes.yaxis.get_major_locator().set_params(integer=True)
    return figure, rows


# Against lambda, and among all cells


def _plot_lambda(runs: Sequence[SearchRun], table: NASBench201 | None):
    """Accuracy, skip connections and entropy at the end, against lambda; one line a data set."""
    runs, left = of_lambda_alone(runs)
    if not runs:
        raise NothingToPlot('no run has one lambda, 0 or more, in all its epochs')
    lambdas = sorted({run.lambdas[-1] for run in runs})
    if len(lambdas) < 2:
        raise NothingToPlot(f'all runs that differ in lambda alone have {lambdas[0]:g}')
    several = len({run.dataset for run in runs}) > 1
    points: dict[tuple[str, str], dict[float, list[float]]] = {}
    rows: list[list[Any]] = [['method', 'seed', 'lambda', 'quantity', 'data set', 'value']]
    for run in runs:
        searched = f'searched on {run.dataset}'
        found = {}
        if run.space.table is not None and table is not None:
            found = {
                (TABLE_ACCURACY, f'{searched}, {name}' if several else name): table_accuracy(
                    table, run.found, key
                )
                for key, name in dataset_names(table).items()
            }
        found[SKIPS, searched] = count_skips(run.found)
        found[LAST_ENTROPY, searched] = run.last['mean_entropy']
        for key, value in found.items():
            points.setdefault(key, {}).setdefault(run.lambdas[-1], []).append(value)
            rows.append([run.method, run.seed, run.lambdas[-1], *key, value])
    quantities = list(dict.fromkeys(quantity for quantity, _ in points))
    figure, grid = panel_grid(len(quantities))
    zero = min(value for value in lambdas if value) / 10  # where 0 stands on a log axis
    for quantity, axes in zip(quantities, grid, strict=True):
        datasets = [dataset for other, dataset in points if other == quantity]
        for number, dataset in enumerate(datasets):
            style = line_style(number + 4 * (quantity != TABLE_ACCURACY))
            columns = sorted(points[quantity, dataset].items())
            x = [value or zero for value, _ in columns]
            axes.fill_between(
                x, [min(c) for _, c in columns], [max(c) for _, c in columns],
                color=style['color'], alpha=0.15, linewidth=0,
            )  # fmt: skip
            counts = {len(column) for _, column in columns}
            seeds = f'{min(counts)} to {max(counts)}' if len(counts) > 1 else str(*counts)
            mean = [sum(column) / len(column) for _, column in columns]
            axes.plot(x, mean, label=f'{dataset} (runs: {seeds})', markersize=4, **style)
        axes.set_xscale('log')
        axes.set_xticks([value or zero for value in lambdas], [f'{v:g}' for v in lambdas])
        axes.tick_params(axis='x', rotation=60)
        axes.set_xticks([], minor=True)
        axes.set_xlabel('λ (log axis; 0 at its left end)' if 0 in lambdas else 'λ (log axis)')
        axes.set_ylabel(quantity, size=9)
        axes.grid(alpha=0.3)
    if left:
        note = f'left out, as they differ in more: {", ".join(left)}'
        figure.suptitle(wrapped(note, figure), size=8)
    legend(figure, grid, runs)
    return figure, rows


def _plot_distribution(runs: Sequence[SearchRun], table: NASBench201 | None):
    """All 15,625 cells by test accuracy, with the found ones marked."""
    table = _table(runs, table)
    names = dataset_names(table)
    figure, grid = panel_grid(len(names))
    header = ['method', 'seed', 'data set', 'test accuracy (%)', 'better cells', 'cells']
    found: list[list[Any]] = []
    bins: list[list[Any]] = []
    methods = list(dict.fromkeys(run.method for run in runs))
    for (dataset, name), axes in zip(names.items(), grid, strict=True):
        values = table.column(f'{dataset}_test_200')
        counts, edges, _ = axes.hist(values, bins=DISTRIBUTION_BINS, color='#BBBBBB', log=True)
        for low, high, count in zip(edges, edges[1:], counts, strict=False):
            bins.append(['all cells', '', name, low, '', int(count), high])
        axes.yaxis.set_major_formatter('{x:,.0f}')
        axes.set_title(name)
        axes.set_xlabel('test accuracy (%)')
        for number, method in enumerate(methods):
            style = line_style(number)
            mine = [run for run in runs if run.method == method]
            label = method if len(mine) == 1 else f'{method} ({len(mine)} seeds)'
            for index, run in enumerate(mine):
                value = table_accuracy(table, run.found, dataset)
                axes.axvline(
                    value, color=style['color'], linestyle=style['linestyle'], linewidth=1.3
                )
                axes.plot(
                    value, 0.97 - 0.06 * number, transform=axes.get_xaxis_transform(),
                    label=None if index else label, markersize=7, clip_on=False,
                    **dict(style, linestyle='none'),
                )  # fmt: skip
                better = int(np.count_nonzero(values > value + 1e-6))
                found.append([method, run.seed, name, value, better, len(values), ''])
    grid[0].set_ylabel('cells (log axis)')
    legend(figure, grid, runs)
    return figure, [[*header, 'bin ends at (%)'], *found, *bins]


PLOTS: dict[str, Callable[[Sequence[SearchRun], NASBench201 | None], tuple[Any, list]]] = {
    'accuracy': _plot_accuracy,
    'supernet': _plot_supernet,
    'losses': _plot_losses,
    'cosine': _plot_cosine,
    'numbers': _plot_numbers,
    'weights': _plot_weights,
    'entropy': _plot_entropy,
    'edges': plot_edges,
    'edge_weights': plot_edge_weights,
    'leaders': _plot_leaders,
    'skips': _plot_skips,
    'lambda': _plot_lambda,
    'distribution': _plot_distribution,
    'best': _plot_best,
    'queries': plot_queries,
    'values': plot_values,
}
OF_QUERIES = ('best', 'queries', 'values')
OF_WHAT_WAS_FOUND = ('distribution',)
OF_SUPERNETS = ('supernet', 'losses')
