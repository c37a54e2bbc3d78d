"""The page of a study: its tables, accuracy over search time, and where the found cells stand."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from rdarts.benchmarks import NASBench201
from rdarts.errors import UserError
from rdarts.results import series
from rdarts.results.row import number
from rdarts.results.search_run import SearchRun
from rdarts.results.series import dataset_names
from rdarts.utils.files import write_atomically
from rdarts.visualization.page import filled
from rdarts.visualization.report_parts import plain
from rdarts.visualization.style import line_style, svg_dash

TEMPLATE = Path(__file__).with_name('study_report.html')
REPORT = 'report.html'  # of a run
STEPS = 60  # of a line, at which times it is drawn
BINS = 100  # of the distribution of all cells
LINE = 2  # width, pixels
OF_RUNS = 'found'  # the table that has a row for each run, method and seed first


@dataclass(frozen=True)
class StudyRun:
    """A run as the page has it.

    Args:
        method (str): What it is called; runs of one method differ in their seeds.
        seed (int): Its seed.
        folder (Path): Its work directory.
        accuracy (dict[str, float]): Test accuracy (%) of what it found, by the table's data sets;
            empty where there is no table.
        over_time (bool): Whether its log tells of what it found over time. Defaults to True.
    """

    method: str
    seed: int
    folder: Path
    accuracy: Mapping[str, float] = field(default_factory=dict)
    over_time: bool = True


def write_study(
    path: str | os.PathLike,
    tables: Sequence[Mapping[str, Any]],
    note: str,
    runs: Sequence[StudyRun],
    table: NASBench201 | None = None,
    title: str = 'Study',
) -> None:
    """Write the page: one file of HTML, script and data, which asks nothing of any network.

    Each run leads to its own ``report.html``, by a path relative to the page. Nothing of a run is
    evaluated, and what its log does not tell is left out.

    Args:
        path (str | PathLike): The file.
        tables (Sequence[dict]): ``name``, ``title``, ``header`` and ``rows`` of each, as text.
        note (str): What stands below them.
        runs (Sequence[StudyRun]): The runs.
        table (NASBench201, optional): The table in which cells were looked up.
        title (str): Of the page. Defaults to ``'Study'``.

    Raises:
        UserError: The file cannot be written.
    """
    path = Path(path)
    links = {(run.method, str(run.seed)): _link(run.folder, path.parent) for run in runs}
    methods = list(dict.fromkeys(run.method for run in runs))
    shown = [
        dict(
            name=one['name'],
            title=one['title'],
            header=list(one['header']),
            rows=[list(row) for row in one['rows']],
            links=[
                links.get(tuple(row[:2])) if one['name'] == OF_RUNS else None for row in one['rows']
            ],
        )
        for one in tables
    ]
    data = dict(
        title=title,
        tables=shown,
        note=note.split('\n'),
        methods=[[method, *_look(place)] for place, method in enumerate(methods)],
        charts=_over_time(runs, methods, table),
        cells=_distributions(runs, methods, links, table),
        line=LINE,
    )
    try:
        write_atomically(path, filled(TEMPLATE, data).encode())
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror}') from None


def _link(folder: Path, base: Path) -> str | None:
    """From the page to a run's report; None where there is none."""
    report = folder / REPORT
    if not report.is_file():
        return None
    relative = os.path.relpath(report.resolve(), base.resolve())
    return './' + quote(os.fsencode(Path(relative).as_posix()))


def _look(place: int) -> list[str]:
    """Colour, marker and dashes of a method's line."""
    look = line_style(place)
    return [look['color'], look['marker'], svg_dash(look['linestyle'], LINE)]


def _over_time(
    runs: Sequence[StudyRun], methods: Sequence[str], table: NASBench201 | None
) -> list[dict[str, Any]]:
    """A chart for each data set of the table: else one, of the supernet's own accuracy."""
    found: dict[str, dict[str, list[dict[float, float]]]] = {}
    for run in runs:
        for title, curve in (curves(run, table) if run.over_time else {}).items():
            if curve:
                found.setdefault(title, {}).setdefault(run.method, []).append(curve)
    return [
        dict(
            title=title,
            lines=[
                dict(method=place, points=band(own[method]), seeds=len(own[method]))
                for place, method in enumerate(methods)
                if method in own
            ],
            mark=series.optima(table).get(title),
        )
        for title, own in found.items()
    ]


def curves(run: StudyRun, table: NASBench201 | None) -> dict[str, dict[float, float]]:
    """What a run has reached at which time, in seconds of the search: data set -> time -> %.

    Args:
        run (StudyRun): The run; one whose log cannot be read has nothing.
        table (NASBench201, optional): Without it, the supernet's validation accuracy is told.
    """
    search = SearchRun(run.folder, run.method)
    try:
        times = search.digest.times()
        if search.asks and search.queries.rows:
            before = max(times.values(), default=0.0)
            places = {
                row['query']: before + (number(row, 'seconds') or 0.0)
                for row in search.queries.rows
            }
            found = {
                name: _where_changed(read(search))
                for name, read in series.best_accuracies(table).items()
            }
        elif table is not None:
            places = times
            found = {name: dict(read(search)) for name, read in series.accuracies(table).items()}
        else:
            places, found = times, {'Supernet, validation images': search.validation()}
    except UserError:
        return {}
    return {
        name: {places[at]: value for at, value in values.items() if places.get(at, 0.0) > 0}
        for name, values in found.items()
    }


def _where_changed(values: Mapping[int, float]) -> dict[int, float]:
    """The first query, those after which another cell was the best, and the last."""
    places = list(values)
    return {
        at: values[at]
        for before, at in zip([None, *places], places, strict=False)
        if before is None or values[before] != values[at] or at == places[-1]
    }


def band(curves: Sequence[Mapping[float, float]]) -> list[list[float]]:
    """Mean, least and largest value of several seeds over time; a value holds until the next.

    Args:
        curves (Sequence[dict]): Of each seed, seconds -> value.

    Returns:
        list[list[float]]: Seconds, mean, least, largest; from where all seeds have begun, evenly in
        the logarithm of time, up to the end of the last. A seed that has ended keeps its value.
    """
    ordered = [sorted(curve.items()) for curve in curves]
    first = max(curve[0][0] for curve in ordered)
    last = max(curve[-1][0] for curve in ordered)
    times = {seconds for curve in ordered for seconds, _ in curve if first <= seconds <= last}
    if len(times) > STEPS:
        times = {first, last, *np.geomspace(first, last, STEPS).clip(first, last).tolist()}
    points = []
    for seconds in sorted(times):
        now = [[v for at, v in curve if at <= seconds][-1] for curve in ordered]
        mean = math.fsum(now) / len(now)
        points.append([plain(seconds), plain(mean), plain(min(now)), plain(max(now))])
    return points


def _distributions(
    runs: Sequence[StudyRun],
    methods: Sequence[str],
    links: Mapping[tuple[str, str], str | None],
    table: NASBench201 | None,
) -> list[dict[str, Any]]:
    """Of each data set, how many cells of the table reach what, and what each run found."""
    if table is None:
        return []
    found = []
    for key, name in dataset_names(table).items():
        counts, edges = np.histogram(table.column(f'{key}_test_200'), BINS)
        marks = [
            [methods.index(run.method), run.seed, plain(run.accuracy[key]),
             links[run.method, str(run.seed)]]
            for run in runs
            if key in run.accuracy
        ]  # fmt: skip
        found.append(
            dict(
                title=name,
                edges=[plain(edge) for edge in edges.tolist()],
                counts=counts.tolist(),
                marks=marks,
            )
        )
    return found
