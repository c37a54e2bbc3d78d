"""What a study of detection runs, and its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from rdarts.engine.work_dir import lock_work_dir, prepare_work_dir
from rdarts.errors import UserError
from rdarts.results.row import number
from rdarts.study.comparison_files import publish, require_shown
from rdarts.study.detection_runs import DetectionRuns
from rdarts.study.detection_study import METRICS, DetectionStudy, row_name
from rdarts.study.executors.base import Executor
from rdarts.study.executors.local import LocalExecutor
from rdarts.study.figures import FIGURES
from rdarts.study.queue import RETRIES, cancel_all, run_all
from rdarts.study.remarks import print_remarks
from rdarts.study.statistics import Summary
from rdarts.study.tables import Table, note_of, percent

Found = dict[str, dict[str, dict[int, dict[str, float]]]]
"""Data -> row -> seed -> column -> figure in percent."""
ARE = dict(
    coco="COCO's figures are in percent, of boxes (pycocotools).",
    voc0712="VOC's is the mean average precision of VOC 2007's 11 points, in percent.",
)


def compare(
    plan: DetectionStudy,
    wide: bool = False,
    executor: Executor | None = None,
    retries: int = RETRIES,
) -> int:
    """Train and evaluate what has not been, and print and write the tables.

    Args:
        plan (DetectionStudy): What is trained.
        wide (bool): Whether lines may be longer than 100 characters. Defaults to False.
        executor (Executor, optional): What runs the runs. Defaults to processes of this machine.
        retries (int): How often a run is started again that a machine or a queue has ended.
            Defaults to 3.

    Returns:
        int: 0, or 1 where a run has failed.

    Raises:
        UserError: Something does not fit, or no run can be shown.
    """
    work = DetectionRuns(plan)
    first = work.first()
    lock_work_dir(plan.work_dir)
    folder = prepare_work_dir(plan.work_dir, keep=True)
    run_all(first, executor or LocalExecutor(plan.jobs), retries, work.follow)
    found: Found = {data: {} for data in plan.data}
    for one, run in work.evaluations.items():
        if run.state() != 'done':
            continue
        try:
            figures = read_figures(run.folder, one.data)
        except UserError as error:
            run.error = str(error)
            continue
        found[one.data].setdefault(row_name(one.detector, one.network), {})[one.seed] = figures
    failed = {run.name: run.error for run in work.runs if run.error}
    require_shown(any(found.values()), failed, f'each has its run.log in {folder}')
    tables = [detection_table(plan, data, found[data]) for data in plan.data]
    data = dict(detection=found, published=plan.published)
    return publish(plan, folder, tables, note_on(plan), data, failed, wide)


def cancel(plan: DetectionStudy, executor: Executor) -> None:
    """End the jobs of a study that an earlier command has left running.

    Args:
        plan (DetectionStudy): What is trained.
        executor (Executor): What runs them.
    """
    work = DetectionRuns(plan)
    work.walk()
    lock_work_dir(plan.work_dir)
    cancel_all(work.runs, executor)


def expect(
    plan: DetectionStudy, measures: bool = True, places: int | None = 1, cores: int | None = None
) -> None:
    """List the runs; what they would take is not measured.

    Args:
        plan (DetectionStudy): What is trained.
        measures (bool): Without a meaning here, as what follows. Defaults to True.
        places (int, optional): How many run at a time. Defaults to 1.
        cores (int, optional): Of each run. Defaults to its share of this machine's.
    """
    work = DetectionRuns(plan)
    work.walk()
    for run in work.runs:
        print(f'{run.state():<7} {run.name}')
    for name, seed in product(plan.names, plan.all_seeds) if plan.retrain else ():
        if (name, seed) not in work.retrainings:
            print(f'{"new":<7} {name}, seed {seed} (retraining)')
    for one in work.detectors:
        for known, what in ((work.trainings, 'detector'), (work.evaluations, 'evaluation')):
            if one not in known:
                print(f'{"new":<7} {one.name} ({what})')
    print_remarks(plan)


def read_figures(folder: Path, data: str) -> dict[str, float]:
    """What an evaluation found.

    Args:
        folder (Path): Its work directory.
        data (str): The data set, as the study has it.

    Returns:
        dict[str, float]: Column -> figure in percent.

    Raises:
        UserError: It has not all of them, as where nothing was detected at all.
    """
    path = folder / FIGURES
    try:
        written = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        written = {}
    found = {}
    for column, key in METRICS[data].items():
        value = number(written, key)
        if value is None or value < 0:  # COCO's -1: there are no boxes of that kind
            raise UserError(f'{path}: no {column} ({key}), as where nothing is detected at all')
        found[column] = 100 * value
    return found


def detection_table(
    plan: DetectionStudy, data: str, found: Mapping[str, Mapping[int, Mapping[str, float]]]
) -> Table:
    """A row for each detector and network, beside published figures; then what is only published.

    Args:
        plan (DetectionStudy): What is trained.
        data (str): The data set.
        found (Mapping[str, Mapping[int, Mapping[str, float]]]): Row -> seed -> column -> percent.
    """
    columns, published = list(METRICS[data]), plan.published.get(data, {})
    shown = [column for column in columns if any(column in row for row in published.values())]
    rows = []
    for name in [*_rows(plan), *_only_published(plan, data)]:
        cells = [name]
        for column in columns:
            values = [figures[column] for figures in found.get(name, {}).values()]
            cells.append(percent(Summary.of(values) if values else None))
        for column in shown:
            figure = published.get(name, {}).get(column)
            cells.append('-' if figure is None else f'{figure:.1f}')
        rows.append(cells)
    header = ['detector: network', *columns, *(f'published {column}' for column in shown)]
    title = dict(coco='Detection on COCO 2017', voc0712='Detection on VOC 2007')[data]
    return Table(data, title, header, rows)


def _rows(plan: DetectionStudy) -> list[str]:
    return [row_name(detector, name) for detector in plan.detectors for name in plan.names]


def _only_published(plan: DetectionStudy, data: str) -> list[str]:
    own = _rows(plan)
    return [name for name in plan.published.get(data, {}) if name not in own]


def note_on(plan: DetectionStudy) -> str:
    """What the figures are, and which rows are published ones alone."""
    sentences = [ARE[data] for data in plan.data]
    if plan.retrain is None:
        sentences.append('No network was trained before: each detector began from random weights.')
    only = dict.fromkeys(name for data in plan.data for name in _only_published(plan, data))
    sentences += [f'{name}: published figures only, not run here.' for name in only]
    return note_of(sentences)
