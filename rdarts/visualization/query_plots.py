"""Pictures of what searches asked: the value of each query, and how often values were seen."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rdarts.benchmarks import NASBench201
from rdarts.results.search_run import SearchRun
from rdarts.visualization.panels import band, legend, panel_grid, query_axis
from rdarts.visualization.style import VALUE_BINS, line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _panels(runs: Sequence[SearchRun]) -> tuple[Figure, list[tuple[Axes, str, list[Any]]]]:
    """A panel for whatever values are of: axes, that, and number, name and runs of each method."""
    evaluators = list(dict.fromkeys(run.queries.evaluator for run in runs))
    methods = list(dict.fromkeys(run.method for run in runs))
    figure, grid = panel_grid(len(evaluators))
    panels = []
    for axes, evaluator in zip(grid, evaluators, strict=True):
        axes.set_title(evaluator, size=9)
        found = []
        for number, method in enumerate(methods):
            mine = [r for r in runs if (r.method, r.queries.evaluator) == (method, evaluator)]
            if mine:
                found.append((number, method, mine))
        panels.append((axes, evaluator, found))
    return figure, panels


def plot_queries(runs: Sequence[SearchRun], table: NASBench201 | None):
    """The value of each query as a point, and the best so far as a line: its mean over seeds."""
    figure, panels = _panels(runs)
    for axes, _, found in panels:
        for number, method, mine in found:
            style = line_style(number)
            for run in mine:
                values = run.queries.values()
                axes.scatter(
                    list(values), list(values.values()), s=5, alpha=0.3, linewidths=0,
                    color=style['color'], marker=style['marker'],
                )  # fmt: skip
            best = [values for run in mine if (values := run.queries.best_values())]
            if best:
                band(axes, best, method, dict(style, drawstyle='steps-post'), ())
        query_axis(axes)
    panels[0][0].set_ylabel('value; lines: the best so far', size=9)
    legend(figure, figure.axes, runs)
    rows: list[list[Any]] = [['method', 'seed', 'evaluator', 'query', 'value', 'best so far']]
    for run in runs:
        rows += [
            [run.method, run.seed, run.queries.evaluator, row['query'],
             row.get('not_finite', row['value']), row['best']]
            for row in run.queries.rows
        ]  # fmt: skip
    return figure, rows


def plot_values(runs: Sequence[SearchRun], table: NASBench201 | None):
    """How often values were seen, all seeds together; what is not finite is counted beside."""
    figure, panels = _panels(runs)
    header = ['method', 'evaluator', 'bin begins at', 'bin ends at', 'queries', 'not finite']
    rows: list[list[Any]] = [header]
    for axes, evaluator, found in panels:
        seen = {
            method: [value for run in mine for value in run.queries.values().values()]
            for _, method, mine in found
        }
        edges = np.histogram_bin_edges(list(itertools.chain(*seen.values())), VALUE_BINS)
        for number, method, mine in found:
            style, values = line_style(number), seen[method]
            bad = sum(run.queries.not_finite().total() for run in mine)
            counts = np.histogram(values, edges)[0]
            label = f'{method} ({bad} of {bad + len(values)} not finite)' if bad else method
            color = style['color']
            axes.stairs(counts, edges, label=label, color=color, linestyle=style['linestyle'])
            axes.stairs(counts, edges, color=color, alpha=0.15, fill=True)
            rows += [
                [method, evaluator, low, high, int(count), '']
                for low, high, count in zip(edges, edges[1:], counts, strict=False)
            ]
            rows.append([method, evaluator, '', '', '', bad])
        axes.set_xlabel('value')
        axes.grid(alpha=0.3)
        axes.yaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    panels[0][0].set_ylabel('queries', size=9)
    legend(figure, figure.axes, runs)
    return figure, rows
