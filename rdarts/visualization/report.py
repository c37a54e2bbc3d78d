"""The report of searches: one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from rdarts.benchmarks import NASBench201
from rdarts.configuration import as_data
from rdarts.configuration.retraining import retraining_command, training_images
from rdarts.errors import UserError
from rdarts.results import series
from rdarts.results.decisions import decisions_before
from rdarts.results.margins import machine_of, smallest_margin
from rdarts.results.phases import words
from rdarts.results.row import number, tells_of_alpha
from rdarts.results.search_run import SearchRun
from rdarts.results.series import dataset_names
from rdarts.utils.commands import command
from rdarts.utils.files import write_atomically
from rdarts.visualization import query_report
from rdarts.visualization.drawing.svg import LOOK
from rdarts.visualization.page import filled
from rdarts.visualization.report_parts import Drawings, plain, points, points_in, short
from rdarts.visualization.style import line_style, svg_dash

TEMPLATE = Path(__file__).with_name('report.html')
MAX_BYTES = 2_900_000
MOST_STOPS = 1000  # epochs on the slider of one search: more could not be told apart on it
CHART_LINE = 2  # width, pixels


def write_report(
    runs: Sequence[SearchRun], path: str | os.PathLike, table: NASBench201 | None = None
) -> None:
    """Write the report of one search, or of several side by side.

    It is one file of HTML, script and data, under 3 MB: of very long searches the slider and the
    lines leave out epochs, and the page says so. It asks nothing of any network and evaluates
    nothing of what it shows. Of a search that asks, the slider goes through the queries that found
    a better one.

    Args:
        runs (Sequence[SearchRun]): Searches in one space, each with an epoch that has ended or a
            query that was answered.
        path (str | PathLike): The file.
        table (NASBench201, optional): Gives what the cells reach where the log does not say.

    Raises:
        UserError: A log holds neither, there are too many runs, searches with alpha and such that
            ask have no table to be compared by, or the file cannot be written.
    """
    if runs[0].space.table is None:
        table = None
    query_report.check_together(runs, table)
    charts, of_queries = _charts(runs, table), query_report.charts(runs, table)
    both = [*charts, *of_queries]
    names = [len({line['name'] for line in chart.get('lines', ())}) for chart in both]
    lines = [_line(number) for number in range(max([len(runs), *names]))]
    same = dict(lines=lines, chart_line=CHART_LINE, look=LOOK)
    same['found'] = query_report.found(runs, table)
    drawings: list[dict[str, dict[str, Any]]] = [{} for _ in runs]
    longest = max(len(run.epochs) for run in runs)
    every = max(1, -(-longest // MOST_STOPS))
    while True:
        shown = [_run(run, every, seen, table) for run, seen in zip(runs, drawings, strict=True)]
        stops = {epoch for run in shown for epoch in run['epochs']}
        data = dict(runs=shown, charts=[_drawn(chart, stops) for chart in charts], **same)
        data['charts'] += of_queries
        page = filled(TEMPLATE, data)
        size = len(page.encode())
        if size <= MAX_BYTES:
            break
        if every >= longest:
            raise UserError(f'{len(runs)} runs are too many for one report: name fewer')
        every = min(longest, max(every + 1, every * size // MAX_BYTES))
    try:
        write_atomically(Path(path), page.encode())
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror}') from None


def _run(
    run: SearchRun, every: int, seen: dict[str, dict[str, Any]], table: NASBench201 | None
) -> dict[str, Any]:
    """What is shown of one search: every n-th epoch, the last, and that of the found genotype.

    Args:
        run (SearchRun): The search.
        every (int): n.
        seen (dict): Drawings that were made before, by genotype; further ones are added.
        table (NASBench201, optional): See :func:`write_report`.
    """
    epochs, last = run.epochs, run.last if run.epochs else {}
    always = {epochs[-1]['epoch'], last['epoch']} if epochs else set()
    always.update(epoch for part in run.parts for epoch in (part.first, part.last))
    if epochs and tells_of_alpha(last) and not run.asks:
        always.add(run.found_epoch)
    rows = [row for i, row in enumerate(epochs) if i % every == 0 or row['epoch'] in always]
    cells = _weights(run, rows)
    weighted = any(cell['edge_weights'] for cell in cells)
    drawings = Drawings(run, seen, weighted)
    of_epochs = [drawings.place(row) for row in rows]
    asked = query_report.asked(run, drawings, table)
    return dict(
        name=run.method if run.seed is None else f'{run.method}, seed {run.seed}',
        folder=str(run.folder),
        seed=run.seed,
        space=run.space.name,
        dataset=run.dataset,
        ended=run.ended,
        stopped=last['stopped']['by'] if 'stopped' in last else None,
        kept=_kept(run),
        roll_backs=run.roll_backs(),
        max_epochs=run.max_epochs,
        parts=_parts(run),
        last=last.get('epoch'),
        epochs=[row['epoch'] for row in rows],
        left_out=len(epochs) - len(rows),
        drawings=drawings.all,
        drawing=of_epochs,
        facts=[_facts(run, row, table) for row in rows],
        asked=asked,
        weighted=weighted,
        numbers=_numbers(run, rows),
        cells=cells,
        execution=last['execution'] if isinstance(last.get('execution'), str) else None,
        versions=_versions(run),
        machine=machine_of(run),
        margin=_margin(run),
        seconds=run.seconds,
        config=as_data.as_text(run.config),
        commands=_commands(run),
    )


def _kept(run: SearchRun) -> dict[str, Any] | None:
    """The genotype that was found, where it is not that of the place that it has come to."""
    if run.asks:
        return query_report.kept(run) if run.queries.rows else None
    if not tells_of_alpha(run.last):
        return None
    text = run.found.to_string()
    if text == run.last['genotype']:
        return None
    return dict(epoch=run.found_epoch, genotype=text)


def _parts(run: SearchRun) -> list[dict[str, Any]]:
    """Its phases and their branches: which epochs are theirs, and what they began with."""
    return [
        dict(
            name=part.name,
            folder=part.folder,
            first=part.first,
            last=part.last,
            branch=part.branch is not None,
            ended=part.ended,
            chosen=part.chosen,
            words=words(run.config, run.phases, part.phase) if not part.branch else [],
        )
        for part in run.parts
    ]


def _versions(run: SearchRun) -> dict[str, str]:
    start = next(iter(run.of_kind('start')), {})
    found = start.get('versions')
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _margin(run: SearchRun) -> str | None:
    """By how much the closest choice of the found cell was made; None where nothing says it."""
    margin = smallest_margin(run) if run.ended else None
    return None if margin is None else f'{margin:.1e}'


def _facts(run: SearchRun, row: Mapping[str, Any], table: NASBench201 | None) -> dict[str, Any]:
    """What is said of an epoch in words; nothing where there is no alpha."""
    if not tells_of_alpha(row):
        return {}
    left = run.space.restrict(row['alive']) if 'alive' in row else run.space
    most = left.largest_entropy
    entropy = f'{row["mean_entropy"]:.4f} of {most:.4f} nats' if most else '0, all is decided'
    facts = dict(skips=row['skip_connections'], entropy=entropy)
    facts['uniform'] = series.near_uniform(run, row)
    if 'alive' in row:
        masks = [mask for cell in run.space.cells for mask in series.alive(run, row, cell)]
        count = sum(mask.count(False) for mask in masks)
        facts['dropped'] = f'{count} of {sum(map(len, masks))} candidates dropped'
    facts['decided'] = decisions_before(run, row['epoch'])
    index = number(row, 'benchmark', 'index')
    names = dataset_names(table)
    logged = {name: number(row, 'benchmark', key, 'test') for key, name in names.items()}
    accuracy = {name: value for name, value in logged.items() if value is not None}
    if table is not None:
        record = table.query(run.genotype_of(row))
        index = record.index
        accuracy = {name: record.accuracy(key, 'test') for key, name in names.items()}
    if index is not None and accuracy:
        facts.update(index=int(index), accuracy=accuracy)
    return facts


def _commands(run: SearchRun) -> list[str]:
    """How to go on."""
    folder = run.folder
    if not run.ended:
        return [command('train.py', folder / 'config.py', '--work-dir', folder, '--resume')]
    images = training_images(run.config)
    following = retraining_command(folder, run.space, images)
    drawn = command('analysis/draw_genotype.py', folder)
    return [drawn] if following is None else [drawn, following]


def _weights(run: SearchRun, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each cell type: its edges, its operations, and the weights of every shown epoch."""
    found: list[dict[str, Any]] = []
    if not rows or not all(map(tells_of_alpha, rows)):
        return found
    for cell, topology in run.space.cells.items():
        operations = list(dict.fromkeys(o for edge in topology.edges for o in edge.candidates))
        found.append(
            dict(
                name=cell,
                operations=operations,
                edges=[f'{edge.source} → {edge.target}' for edge in topology.edges],
                columns=[[operations.index(o) for o in edge.candidates] for edge in topology.edges],
                weights=[
                    [[short(w) for w in edge] for edge in series.candidate_weights(run, row, cell)]
                    for row in rows
                ],
                edge_weights=_where_any([_edge_weights(row, cell) for row in rows]),
                dropped=_where_any([_dropped(run, row, cell) for row in rows]),
            )
        )
    return found


def _edge_weights(row: Mapping[str, Any], cell: str) -> list[float] | None:
    """The weights of the edges of a cell type in an epoch."""
    found = series.edge_weights(row, cell)
    return found and [short(weight) for weight in found]


def _dropped(run: SearchRun, row: Mapping[str, Any], cell: str) -> list[list[int]] | None:
    """Of every edge of a cell type, the places of the candidates that were dropped."""
    if 'alive' not in row:
        return None
    masks = series.alive(run, row, cell)
    return [[place for place, flag in enumerate(mask) if not flag] for mask in masks]


def _where_any(found: list[Any]) -> list[Any] | None:
    """What the epochs have; None where no epoch has anything."""
    return found if any(one is not None for one in found) else None


def _numbers(run: SearchRun, rows: Sequence[Mapping[str, Any]]) -> list[list[list[Any]]]:
    """Of every shown epoch, name and value of each number that may change over the epochs."""
    found = {name: read(run) for name, read in series.numbers([run]).items()}
    epochs = [row['epoch'] for row in rows]
    return [
        [[name, plain(values[epoch])] for name, values in found.items() if epoch in values]
        for epoch in epochs
    ]


def _line(number: int) -> list[str]:
    """Colour, marker and dashes of the n-th line of a chart."""
    look = line_style(number)
    return [look['color'], look['marker'], svg_dash(look['linestyle'], CHART_LINE)]


# Charts


def _charts(runs: Sequence[SearchRun], table: NASBench201 | None) -> list[dict[str, Any]]:
    """What is shown over epochs: a line for each run and name, its values by epoch."""
    space = runs[0].space
    found = []
    if space.table is not None:
        marks = series.optima(table)
        for name, read in series.accuracies(table).items():
            title = f'The cell in the table, {name}'
            found.append((title, 'test accuracy, %', {'': read}, marks.get(name)))
    # a number of the method that stays what it is stands beside the cell alone
    moving = {
        name: read
        for name, read in series.numbers(runs).items()
        if any(len(set(read(run).values())) > 1 for run in runs)
    }
    alpha = any(map(tells_of_alpha, (row for run in runs for row in run.epochs)))
    half = "alpha's half" if alpha else 'the images that its weights are not trained on'
    found += [
        (f'Supernet on {half}', 'accuracy, %', {'': SearchRun.validation}, None),
        ('Losses', 'mean of an epoch, nats', series.losses(), None),
        *(  # apart, since they differ more from each other than over the epochs
            (f'Entropy of an edge, {name}', 'Σ -β ln β, nats', {'': read}, None)
            for name, read in series.entropies().items()
        ),
        ('Mean weight of an operation', 'β', series.kind_weights(), None),
        ('Skip connections', 'number', series.skips(space), None),
        (
            'Direction of the step',
            'cosine of ∇L_val and ∇(L_val + Σ λR)',
            series.cosines(space),
            None,
        ),
        ('Regularisers', 'R(α), mean of an epoch', series.regularizers(runs), None),
        *((name, 'in the epoch', {'': read}, None) for name, read in moving.items()),
        *((n, 'of the architect', {'': read}, None) for n, read in series.steps(runs).items()),
    ]
    charts = []
    for title, unit, readers, mark in found:
        lines = [
            dict(run=index, name=name, values=values)
            for name, read in readers.items()
            for index, run in enumerate(runs)
            if (values := read(run))
        ]
        if lines:
            charts.append(dict(title=title, unit=unit, lines=lines, mark=mark))
    return charts


def _drawn(chart: Mapping[str, Any], stops: Container[int]) -> dict[str, Any]:
    """A chart as the page has it: its lines have a value at every stop of the slider."""
    lines = [
        dict(run=line['run'], name=line['name'], points=points(line['values'], stops))
        for line in chart['lines']
    ]
    every = max(points_in(line['values']) for line in chart['lines'])
    return dict(chart, lines=lines, every=every, axis='epoch')
