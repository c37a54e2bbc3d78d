"""What a search of a sweep has reached, epoch by epoch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rdarts.benchmarks.nas_bench_201_file import DATASETS
from rdarts.errors import UserError
from rdarts.results.log import LOG, read_search_log
from rdarts.results.row import number

if TYPE_CHECKING:
    import optuna

VALIDATION = 'val'
GOALS = (VALIDATION, *DATASETS)
"""The accuracy of the search's own validation, or the table's of the cell on a data set."""


class EpochValues:
    """What the log of a search says of the goal, epoch by epoch.

    Args:
        folder (Path): The search's work directory.
        goal (str): One of :data:`GOALS`.
        interval (float): Seconds between two looks at the log.

    Attributes:
        last (int): The last epoch that was told.
        value (float | None): The value of the last epoch that has one.
    """

    def __init__(self, folder: Path, goal: str, interval: float) -> None:
        self.folder, self.goal, self.interval = folder, goal, interval
        self.last, self.value = 0, None
        self._size, self._time = -1, 0.0

    def report(self, trial: optuna.Trial, at_once: bool = False) -> bool:
        """Tell a trial of epochs that are new; whether there were any."""
        if not at_once and time.monotonic() - self._time < self.interval:
            return False
        self._time, before = time.monotonic(), self.last
        try:
            size = (self.folder / LOG).stat().st_size
            if size == self._size:
                return False
            rows = goal_rows(self.folder, self.goal)
        except (OSError, UserError):  # not written yet
            return False
        self._size = size
        for epoch, value in rows:
            if epoch > self.last:
                trial.report(value, epoch)
                self.last = epoch
            self.value = value
        return self.last > before


def goal_rows(folder: Path, goal: str) -> list[tuple[int, float]]:
    """Epoch and value (%) of each epoch of a search that has one.

    Args:
        folder (Path): Its work directory.
        goal (str): One of :data:`GOALS`.

    Raises:
        UserError: There is no log.
    """
    kind, keys = 'epoch', ('benchmark', goal, 'valid')
    if goal == VALIDATION:
        kind, keys = 'val', ('accuracy/top1',)
    found = [(row['epoch'], number(row, *keys)) for row in read_search_log(folder, kind)]
    return [(epoch, value) for epoch, value in found if value is not None]
