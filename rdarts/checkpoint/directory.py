"""The checkpoints of a work directory: which there are, which is good, and out of the way."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.errors import UserError

NAME = re.compile(r'(?:epoch_(\d+)_)?iter_(\d+)(?:_decision_(\d+))?\.pth')


def list_checkpoints(work_dir: str | os.PathLike) -> list[Path]:
    """The checkpoints of a work directory, newest first."""
    found = []
    for path in Path(work_dir).glob('*.pth'):
        match = NAME.fullmatch(path.name)
        if match:
            # decisions of a selection come between an epoch's end and the next iteration
            decisions = int(match[3] or -1)
            found.append((int(match[2]), decisions, match[1] is not None, path))
    return [path for *_, path in sorted(found, reverse=True)]


def has_checkpoints(work_dir: str | os.PathLike) -> bool:
    """Whether a run has left checkpoints in its work directory, or in those of its phases."""
    phases = ('phase_*', 'phase_*/branch_*')
    folders = (folder for pattern in phases for folder in Path(work_dir).glob(pattern))
    return any(list_checkpoints(folder) for folder in (work_dir, *folders))


def iteration_of(path: Path) -> int:
    """The iteration after which a checkpoint that :func:`list_checkpoints` found was saved."""
    return int(NAME.fullmatch(path.name)[2])


def find_checkpoint(work_dir: str | os.PathLike) -> Path | None:
    """The newest checkpoint of a work directory that can be read.

    Names every damaged one that it passes over.

    Returns:
        Path | None: None where there is no checkpoint at all.

    Raises:
        UserError: There are checkpoints, and none can be read.
    """
    paths = list_checkpoints(work_dir)
    for path in paths:
        try:
            read_checkpoint(path)
        except UserError as error:
            print_log(f'skipped: {error}', logger='current', level=30)
            continue
        return path
    if paths:
        raise UserError(f'no checkpoint in {work_dir} can be read: {len(paths)} are damaged')
    return None


def set_aside(work_dir: str | os.PathLike, paths: Sequence[Path]) -> Path:
    """Move files of a work directory into a new folder ``previous_<n>`` of it."""
    number = 1
    while Path(work_dir, f'previous_{number}').exists():
        number += 1
    target = Path(work_dir, f'previous_{number}')
    target.mkdir()
    for path in paths:
        shutil.move(path, target / path.name)
    return target


def last_good(work_dir: str | os.PathLike) -> str:
    """One clause that names the newest checkpoint and how to go on from it."""
    paths = list_checkpoints(work_dir)
    if not paths:
        return 'There is no checkpoint yet.'
    return f'Last good checkpoint: {paths[0]} (go on from it with --resume).'
