"""One run at a time in a folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from rdarts.errors import UserError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

NAME = '.lock'
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_held: set[FolderLock] = set()  # else a lock would end with the last name for it


class FolderLock:
    """Keeps other runs out of a folder until it is released, or its process ends.

    The lock is the operating system's, on the open file ``.lock``: nothing has to be cleaned up
    after a kill, and a file that is left there means nothing. Its text names the process for those
    who are refused.

    Args:
        folder (str | PathLike): The folder; made where it is missing.

    Raises:
        UserError: Another run works in the folder, or it cannot be written.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder, NAME)
        self._file: int | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._acquire()
        except OSError as error:
            self.release()
            raise cannot_write(folder, error) from None
        _held.add(self)

    def _acquire(self) -> None:
        while True:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if fcntl is None:
                    raise OSError(errno.ENOSYS, 'no locks')
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(self._file, 1000).decode(errors='replace').strip()
                self._close()
                raise UserError(
                    f'{self.path.parent} is in use: {holder or "another process"} works in it; '
                    'wait for it, stop it, or choose another with --work-dir'
                ) from None
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                print(
                    f'warning: the file system of {self.path.parent} has no locks: '
                    'see to it that no other run works there',
                    file=sys.stderr,
                )
                self.release()
                return
            if self._is_there():
                break
            self._close()  # another has just released it, and removed the file
        who = f'process {os.getpid()} on {socket.gethostname()}, since {time.strftime("%F %T")}\n'
        os.ftruncate(self._file, 0)
        os.write(self._file, who.encode())

    def _is_there(self) -> bool:
        """Whether the open file is the one that others would open."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let others work in the folder."""
        _held.discard(self)
        if self._file is not None:
            with contextlib.suppress(OSError):  # a file that nobody locks means nothing
                if self._is_there():
                    self.path.unlink()
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *error: Any) -> None:
        self.release()


def cannot_write(folder: str | os.PathLike, error: OSError) -> UserError:
    """The error of a work directory that cannot be made or written."""
    return UserError(
        f'the work directory {folder} cannot be written: {error.strerror}; '
        'choose another with --work-dir'
    )


def _release_all() -> None:
    for lock in list(_held):
        lock.release()


def _leave_to_parent() -> None:
    """A forked worker that outlives its parent must not hold what was the parent's."""
    for lock in _held:
        lock._close()
    _held.clear()


atexit.register(_release_all)
if hasattr(os, 'register_at_fork'):  # not on Windows
    os.register_at_fork(after_in_child=_leave_to_parent)
