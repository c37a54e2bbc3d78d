"""The accuracies on test images that a training has logged."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rdarts.results.row import number
from rdarts.utils.files import read_lines

MAX_BYTES = 2**31  # of a log


def logged_accuracies(work_dir: str | os.PathLike) -> list[tuple[int | None, float]]:
    """The epoch and the accuracy (%) of each validation, in the order of the log.

    Args:
        work_dir (str | PathLike): Work directory of a retraining.

    Raises:
        UserError: A log cannot be read.
    """
    found = []
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in read_lines(path, MAX_BYTES):
            if b'accuracy/top1' not in line:
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):  # half a line of a run that was killed
                continue
            accuracy, epoch = number(row, 'accuracy/top1'), number(row, 'step')
            if accuracy is not None:
                found.append((None if epoch is None else int(epoch), accuracy))
    return found
