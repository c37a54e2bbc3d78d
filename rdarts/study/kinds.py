"""What is done with a study, by its kind."""

from __future__ import annotations

from types import ModuleType

from rdarts.study import comparison, detection_tables, memory_tables
from rdarts.study.detection_study import DetectionStudy
from rdarts.study.executors.base import Executor
from rdarts.study.memory_study import MemoryStudy
from rdarts.study.queue import RETRIES
from rdarts.study.searches import Comparison

Study = Comparison | DetectionStudy | MemoryStudy
KINDS: dict[type, ModuleType] = {
    Comparison: comparison,
    DetectionStudy: detection_tables,
    MemoryStudy: memory_tables,
}


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
    return KINDS[type(plan)].compare(plan, wide, executor, retries)


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
    KINDS[type(plan)].expect(plan, measures, places, cores)


def cancel(plan: Study, executor: Executor) -> None:
    """End the jobs of a study that an earlier command has left running."""
    KINDS[type(plan)].cancel(plan, executor)
