"""An open file that is locked for as long as a process has it, on whatever machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None


def lock_open(file: IO) -> None:
    """Lock an open file until the last process that has taken it over is done with it.

    Nothing where the file system has no locks, or where another one has it.

    Args:
        file (IO): Open for writing; processes that are started with it keep the lock.
    """
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_locked(path: str | os.PathLike) -> bool | None:
    """Whether a process of any machine has a file that :func:`lock_open` locked.

    Args:
        path (str | PathLike): The file.

    Returns:
        bool | None: None where the file system does not say so.
    """
    if not Path(path).exists():
        return False
    if fcntl is None:
        return None
    try:
        with open(path, 'ab') as file:  # on NFS only who may write may lock
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False
