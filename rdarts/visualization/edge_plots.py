"""Every edge over the epochs, a picture for each search: its candidates, and its own weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rdarts.benchmarks import NASBench201
from rdarts.results import series
from rdarts.results.search_run import SearchRun
from rdarts.visualization.panels import (
    NothingToPlot,
    epoch_axis,
    fit,
    legend,
    line,
    panel_grid,
    places,
    say_uniform,
)
from rdarts.visualization.style import line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_edges(runs: Sequence[SearchRun], table: NASBench201 | None):
    """Weights of the candidates of every edge; lines of what is dropped end."""
    run = _only(runs)
    style = {name: line_style(number) for number, name in enumerate(run.space.candidates)}
    figure, grid = panel_grid(run.space.num_edges, columns=7, panel=(2.0, 1.7))
    rows: list[list[Any]] = [['cell', 'edge', 'operation', 'epoch', 'weight', *places(runs)[0]]]
    panels = iter(grid)
    for cell, topology in run.space.cells.items():
        weights = [series.candidate_weights(run, row, cell) for row in run.epochs]
        masks = [series.alive(run, row, cell) for row in run.epochs]
        for index, edge in enumerate(topology.edges):
            axes, name = next(panels), f'{edge.source} → {edge.target}'
            axes.set_title(_titled(run, cell, name), size=9)
            for column, operation in enumerate(edge.candidates):
                values = [
                    edges[index][column] if mask[index][column] else math.nan
                    for edges, mask in zip(weights, masks, strict=True)
                ]
                _line(axes, run, values, operation, style[operation])
                rows += _numbers(run, [cell, f'{edge.source}-{edge.target}', operation], values)
            _small(axes, run)
    for axes in grid[1:]:
        grid[0].update_datalim(axes.dataLim.get_points())
    fit(grid[0])  # one range for all: edges are compared with each other
    for axes in grid[1:]:
        axes.set_ylim(grid[0].get_ylim())
        axes.ticklabel_format(axis='y', useOffset=False)
    figure.supylabel('weight β', size=9)
    say_uniform(figure, runs)
    legend(figure, grid, runs)
    return figure, rows


def plot_edge_weights(runs: Sequence[SearchRun], table: NASBench201 | None):
    """The weights of the edges into every node."""
    run = _only(runs)
    cells = [
        cell
        for cell in run.space.cells
        if any(series.edge_weights(row, cell) is not None for row in run.epochs)
    ]
    nodes = [
        (cell, node)
        for cell in cells
        for node in range(run.space.cells[cell].num_nodes)
        if run.space.cells[cell].edges_into(node)
    ]
    if not nodes:
        raise NothingToPlot('this method has no weights of edges')
    figure, grid = panel_grid(len(nodes), columns=4, panel=(2.6, 2.0))
    rows: list[list[Any]] = [['cell', 'edge', 'epoch', 'weight', *places(runs)[0]]]
    for axes, (cell, node) in zip(grid, nodes, strict=True):
        topology = run.space.cells[cell]
        axes.set_title(_titled(run, cell, f'into node {node}'), size=9)
        weights = [series.edge_weights(row, cell) for row in run.epochs]
        for index in topology.edges_into(node):
            source = topology.edges[index].source
            values = [math.nan if edges is None else edges[index] for edges in weights]
            _line(axes, run, values, f'from {source}', line_style(source))
            rows += _numbers(run, [cell, f'{source}-{node}'], values)
        _small(axes, run)
        fit(axes)
    figure.supylabel('weight of the edge', size=9)
    legend(figure, grid, runs)
    return figure, rows


def _only(runs: Sequence[SearchRun]) -> SearchRun:
    if len(runs) > 1:
        raise NothingToPlot('the weights of every edge are drawn of one search at a time')
    return runs[0]


def _titled(run: SearchRun, cell: str, name: str) -> str:
    return f'{cell} {name}' if len(run.space.cells) > 1 else name


def _line(
    axes: Axes, run: SearchRun, values: list[float], label: str, style: dict[str, Any]
) -> None:
    of_epochs = {row['epoch']: value for row, value in zip(run.epochs, values, strict=True)}
    every = max(1, len(values) // 5)
    line(axes, of_epochs, [run], label, linewidth=1.2, markersize=3, markevery=every, **style)


def _numbers(run: SearchRun, names: list[str], values: list[float]) -> list[list[Any]]:
    """Rows of the CSV, without epochs that have none."""
    pairs = zip(run.epochs, values, strict=True)
    _, place = places([run])
    return [
        [*names, row['epoch'], value, *place(run, row['epoch'])]
        for row, value in pairs
        if not math.isnan(value)
    ]


def _small(axes: Axes, run: SearchRun) -> None:
    epoch_axis(axes, [run])
    axes.set_xlabel('epoch', size=8)
    axes.tick_params(labelsize=7)
