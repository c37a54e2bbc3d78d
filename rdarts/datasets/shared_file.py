"""A file that processes of a machine have together, and that goes with the last of them."""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

WORD = struct.Struct('<q')
# Of what was opened, not of the process: these are not lost when the file is closed elsewhere in it
_OWN_LOCKS = sys.platform == 'linux' and hasattr(fcntl, 'F_OFD_SETLK')
_FLOCK = struct.Struct('@hhqqi0q')  # Linux's: kind, from the start (0), start, length, process (0)


def open_shared(path: Path, size: int) -> int:
    """Open a file, which is made where it is missing, and keep others from removing it.

    Args:
        path (Path): Where it is.
        size (int): Bytes, which it takes only as they are written.

    Returns:
        int: Its descriptor.

    Raises:
        OSError: It cannot be opened, or is no file of this user.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            found = os.fstat(file)
            if found.st_uid != os.getuid() or not stat.S_ISREG(found.st_mode):
                raise PermissionError(errno.EPERM, f'{path.name} is of another user')
            fcntl.flock(file, fcntl.LOCK_SH)
            if _is_there(file, path):  # else another has just removed it
                if found.st_size != size:
                    os.ftruncate(file, size)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def open_again(file: int, path: Path) -> int:
    """Open a file that is open, so that it has a lock of its own.

    Raises:
        OSError: It is no longer there.
    """
    again = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not os.path.samestat(os.fstat(again), os.fstat(file)):
        os.close(again)
        raise FileNotFoundError(errno.ENOENT, 'it was removed')
    return again


def close_shared(files: list[int], path: Path, process: int, pattern: str) -> None:
    """Close what was opened of a file; the last process removes it.

    Args:
        files (list[int]): Descriptors, first that of :func:`open_shared`.
        path (Path): Where it is.
        process (int): The one that opened the first.
        pattern (str): See :func:`remove_unused`.
    """
    here = os.getpid() == process
    with suppress(OSError):
        if here:  # a forked worker has the lock together with its parent
            fcntl.flock(files[0], fcntl.LOCK_UN)
        for file in files:
            os.close(file)
        if here:
            remove_unused(path.parent, pattern)


def remove_unused(folder: Path, pattern: str) -> None:
    """Remove the files of a folder that no process has open by :func:`open_shared`.

    Args:
        folder (Path): The folder.
        pattern (str): Of their names, such as ``name-*``.
    """
    for path in folder.glob(pattern):
        with suppress(OSError):
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_there(file, path):  # else another has removed it, and a third made it anew
                    path.unlink()
            finally:
                os.close(file)


def set_lock(file: int, kind: int) -> None:
    """Lock the first word of a file, or give the lock back, at once.

    Args:
        file (int): Its descriptor; another of the same file has another lock, in this process too.
        kind (int): ``fcntl.LOCK_EX`` or ``fcntl.LOCK_UN``.

    Raises:
        OSError: Another has it (``BlockingIOError`` or ``PermissionError``), or there are none.
    """
    if _OWN_LOCKS:
        kind = fcntl.F_UNLCK if kind == fcntl.LOCK_UN else fcntl.F_WRLCK
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, 0, 0, WORD.size, 0))
    else:
        flags = kind if kind == fcntl.LOCK_UN else kind | fcntl.LOCK_NB
        fcntl.lockf(file, flags, WORD.size)


def allocate(file: int, offset: int, size: int, end: int) -> None:
    """Take the room for a range of a file behind which nothing was written.

    Args:
        file (int): Its descriptor.
        offset (int): Where the range begins.
        size (int): Its bytes.
        end (int): The bytes of the whole file.

    Raises:
        OSError: There is none; what was taken of it is given back.
    """
    if not hasattr(os, 'posix_fallocate'):
        return
    try:
        os.posix_fallocate(file, offset, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return  # it is taken as it is written
        os.ftruncate(file, offset)
        os.ftruncate(file, end)
        raise


def write_all(file: int, data: np.ndarray, offset: int) -> None:
    """Write all of an array, which lies in one piece, at an offset."""
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, offset)
        view, offset = view[done:], offset + done


def _is_there(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
