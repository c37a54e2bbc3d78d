"""What the report shows of a search that asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rdarts.benchmarks import NASBench201
from rdarts.errors import UserError
from rdarts.results import series
from rdarts.results.search_run import SearchRun
from rdarts.results.series import dataset_names, table_accuracy
from rdarts.visualization.report_parts import Drawings, plain, points
from rdarts.visualization.style import VALUE_BINS

CLOUD = 1000  # points for the values of one search, at most


def asked(run: SearchRun, drawings: Drawings, table: NASBench201 | None) -> dict[str, Any] | None:
    """What is shown of a search's queries: how many, and the best after each improvement.

    Args:
        run (SearchRun): The search.
        drawings (Drawings): Those of its page; that of each improvement is added.
        table (NASBench201, optional): Gives what the cells reach.

    Returns:
        dict | None: None of a search that has asked nothing yet, or never does.
    """
    if not run.asks or not run.queries.rows:
        return None
    queries = run.queries
    place, front = queries.phase, queries.front
    return dict(
        stops=[query for query, _ in queries.improvements],
        drawing=[drawings.place(row) for _, row in queries.improvements],
        facts=[
            _facts(run, row, queries.rows[query - 1]['best'], table)
            for query, row in queries.improvements
        ],
        answered=len(queries.rows),
        budget=queries.budget,
        not_finite=dict(queries.not_finite()),
        strategy=queries.strategy,
        evaluator=queries.evaluator,
        phase=None if place is None else f'phase {place + 1}',
        folder=None if place is None else f'phase_{place}',
        limits=queries.limits,
        front=None if front is None else dict(cost=front['cost'], queries=front['queries']),
    )


def _facts(
    run: SearchRun, row: Mapping[str, Any], best: float | None, table: NASBench201 | None
) -> dict[str, Any]:
    """What is said in words of a query that has become the best.

    Args:
        run (SearchRun): The search.
        row (dict): Of the query.
        best (float | None): Its value among those up to then; None where it is not finite.
        table (NASBench201, optional): Gives what the cell reaches.
    """
    facts = dict(query=row['query'], value=row.get('not_finite') if best is None else plain(best))
    for key in ('costs', 'parts'):
        facts[key] = [
            [name, one if isinstance(one, str) else plain(one)]
            for name, one in row.get(key, {}).items()
        ]
    if table is not None:
        record = table.query(run.genotype_of(row))
        accuracy = {
            name: record.accuracy(key, 'test') for key, name in dataset_names(table).items()
        }
        facts.update(index=record.index, accuracy=accuracy)
    return facts


def kept(run: SearchRun) -> dict[str, Any] | None:
    """The genotype that was found, where it is not that of the best in its log."""
    text = run.found.to_string()
    if text == run.queries.best['genotype']:
        return None
    return dict(query=run.found_query, genotype=text)


def check_together(runs: Sequence[SearchRun], table: NASBench201 | None) -> None:
    """Refuse searches that have nothing in common by which they could be shown together.

    Raises:
        UserError: One has alpha and another asks, and no table says what they found.
    """
    if table is None and len({run.asks for run in runs}) > 1:
        one, other = (next(run for run in runs if run.asks is asks) for asks in (True, False))
        raise UserError(
            f'{one.folder} asks and {other.folder} has alpha: these are compared by what a table '
            'holds of their cells, and there is none'
        )


def found(runs: Sequence[SearchRun], table: NASBench201 | None) -> list[dict[str, Any]]:
    """Of several searches of which one asks, what the table holds of the cells that they found."""
    if table is None or len(runs) < 2 or not any(run.asks for run in runs):
        return []
    rows, names = [], dataset_names(table)
    for run in runs:
        answered = len(run.queries.rows) if run.asks else None
        accuracy = None
        if run.ended or answered != 0:
            accuracy = {n: table_accuracy(table, run.found, k) for k, n in names.items()}
        rows.append(dict(accuracy=accuracy, epochs=len(run.epochs), queries=answered))
    return rows


# Charts


def charts(runs: Sequence[SearchRun], table: NASBench201 | None) -> list[dict[str, Any]]:
    """Over the queries: what the best so far reaches, and values, apart by what they are of."""
    asking = [index for index, run in enumerate(runs) if run.asks and run.queries.rows]
    if not asking:
        return []
    charts, marks = [], series.optima(table)
    for name, read in series.best_accuracies(table).items():
        lines = [_line(i, read(runs[i]), 'step', len(runs[i].queries.rows)) for i in asking]
        title = f'The best so far in the table, {name}'
        charts.append(_chart(title, 'test accuracy, %', lines, marks.get(name)))
    evaluators = list(dict.fromkeys(runs[i].queries.evaluator for i in asking))
    for evaluator in evaluators:
        mine = [i for i in asking if runs[i].queries.evaluator == evaluator]
        best = [
            _line(i, values, 'step', len(runs[i].queries.rows))
            for i in mine
            if (values := runs[i].queries.best_values())
        ]
        if best:
            charts.append(_chart('The best value so far', evaluator, best))
            clouds = [_cloud(i, runs[i].queries.values()) for i in mine]
            charts.append(_chart('The value of each query', evaluator, clouds))
        charts.append(_histogram(runs, mine, evaluator))
    return charts


def _chart(
    title: str, unit: str, lines: Sequence[dict[str, Any]], mark: float | None = None
) -> dict[str, Any]:
    return dict(title=title, unit=unit, lines=list(lines), mark=mark, axis='query')


def _line(index: int, values: Mapping[int, float], look: str, last: int) -> dict[str, Any]:
    """A line that changes where its value does, and goes on to the last query."""
    changes: dict[int, float] = {}
    for query, value in sorted(values.items()):
        if not changes or value != changes[next(reversed(changes))]:
            changes[query] = value
    changes[last] = values[max(values)]
    return dict(run=index, name='', look=look, points=points(changes))


def _cloud(index: int, values: Mapping[int, float]) -> dict[str, Any]:
    """Points; of very many, evenly some."""
    places = sorted(values)[:: -(-len(values) // CLOUD)]
    return dict(
        run=index, name='', look='points', points=[[at, plain(values[at])] for at in places]
    )


def _histogram(runs: Sequence[SearchRun], mine: Sequence[int], evaluator: str) -> dict[str, Any]:
    """How often values were seen, in bins that all searches share; what is not finite apart."""
    values = [list(runs[i].queries.values().values()) for i in mine]
    together = [value for of_run in values for value in of_run]
    edges = np.histogram_bin_edges(together, VALUE_BINS) if together else np.zeros(0)
    bars = [
        dict(
            run=index,
            counts=np.histogram(found, edges)[0].tolist() if together else [],
            seen=len(runs[index].queries.rows),
            not_finite=dict(runs[index].queries.not_finite()),
        )
        for index, found in zip(mine, values, strict=True)
    ]
    return dict(
        title='How often values were seen',
        unit=evaluator,
        edges=[plain(edge) for edge in edges.tolist()],
        bars=bars,
    )
