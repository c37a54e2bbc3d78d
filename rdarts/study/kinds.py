"""The kinds of studies: what each may say, what it runs, and its tables."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from rdarts.study import (
    comparison,
    detection_study,
    detection_tables,
    memory_study,
    memory_tables,
    search_keys,
    search_study,
)
from rdarts.study.detection_study import DetectionStudy
from rdarts.study.executors.base import Executor
from rdarts.study.memory_study import MemoryStudy
from rdarts.study.queue import RETRIES
from rdarts.study.searches import Comparison

Study = Comparison | DetectionStudy | MemoryStudy


class Kind(NamedTuple):
    """A kind of studies.

    Args:
        check_study (Callable): ``(study, place)``: refuses an entry that is none of the kind.
        plan_of (Callable): ``(study, place, parts, small, work_dir, given)``: what it is to run.
        plan (type): Of what that is.
        work (ModuleType): ``compare``, ``expect`` and ``cancel`` of such a plan.
    """

    check_study: Callable[..., None]
    plan_of: Callable[..., Any]
    plan: type
    work: ModuleType


SEARCHES = 'search'  # of a study that says none
KINDS: dict[str, Kind] = {
    SEARCHES: Kind(search_keys.check_study, search_study.plan_of, Comparison, comparison),
    'memory': Kind(memory_study.check_study, memory_study.plan_of, MemoryStudy, memory_tables),
    'detection': Kind(
        detection_study.check_study, detection_study.plan_of, DetectionStudy, detection_tables
    ),
}
"""By ``study.kind``."""


def compare(
    plan: Study, wide: bool = False, executor: Executor | None = None, retries: int = RETRIES
) -> int:
    """Run what has not ended, and print and write the tables.

    Args:
        plan (Study): What is run.
        wide (bool): Whether every column is printed. Defaults to False.
        executor (Executor, optional): What runs the runs. Defaults to processes of this machine.
        retries (int): How often a run goes on that a machine or a queue has ended. Defaults to 3.

    Returns:
        int: 0, or 1 where a run has failed.

    Raises:
        UserError: Something does not fit, or no run can be shown.
    """
    return _work_of(plan).compare(plan, wide, executor, retries)


def expect(
    plan: Study, measures: bool = True, places: int | None = 1, cores: int | None = None
) -> None:
    """List the runs and, where it can be told before, what they would take; nothing is run.

    Args:
        plan (Study): What would be run.
        measures (bool): Whether it is measured. Defaults to True.
        places (int, optional): How many run at a time; None: as many as a cluster takes.
        cores (int, optional): Of each run. Defaults to its share of this machine's.
    """
    _work_of(plan).expect(plan, measures, places, cores)


def cancel(plan: Study, executor: Executor) -> None:
    """End the jobs of a study that an earlier command has left running."""
    _work_of(plan).cancel(plan, executor)


def _work_of(plan: Study) -> ModuleType:
    return next(kind.work for kind in KINDS.values() if kind.plan is type(plan))
