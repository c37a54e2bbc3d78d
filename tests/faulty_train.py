"""tools/train.py in which one file operation fails, or ends the process.

    faulty_train.py FAULT NUMBER FOLDER ARGUMENTS...

NUMBER counts, from 1, what changes files under FOLDER: opening for writing, writing, flushing,
closing, syncing, renaming, deleting, truncating, making folders. FAULT is ``ENOSPC`` (that
operation and all later ones but deleting and closing fail), ``EIO`` (that operation fails), ``end``
(the process ends there, within a write after half of it) or ``count`` (all succeed; the operations
are printed).
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRAIN = Path(__file__).resolve().parent.parent / 'tools' / 'train.py'
ENDED = 99  # exit code of a process that was ended


class Faults:
    """Counts file operations under a folder, and makes one go wrong.

    Args:
        fault: See above.
        number: Of the operation.
        folder: What it is about.
    """

    def __init__(self, fault: str, number: int, folder: str) -> None:
        self.fault, self.number, self.folder = fault, number, os.path.abspath(folder)
        self.operations: list[str] = []

    def concerns(self, path: Any) -> bool:
        """Whether a path, or an open file's number, is under the folder."""
        if isinstance(path, int):
            try:
                path = os.readlink(f'/proc/self/fd/{path}')
            except OSError:
                return False
        path = os.path.abspath(os.fsdecode(path))
        return path == self.folder or path.startswith(self.folder + os.sep)

    def at(self, name: str, path: Any, half: Callable[[], Any] | None = None) -> None:
        """An operation is about to happen: let it fail, or end the process, where it is its turn.

        Args:
            name: What it is.
            path: Of the file.
            half: Does half of it.
        """
        self.operations.append(f'{name} {path}')
        now = len(self.operations)
        later = self.fault == 'ENOSPC' and now > self.number and name not in ('unlink', 'close')
        if (now != self.number and not later) or self.fault == 'count':
            return
        if half is not None:
            half()
        if self.fault == 'end':
            os._exit(ENDED)
        number = getattr(errno, self.fault)
        raise OSError(number, os.strerror(number))

    def install(self) -> None:
        """Put the counting in the place of the functions of ``os`` and ``open``."""
        for name in ('replace', 'rename', 'unlink', 'remove', 'mkdir', 'fsync', 'truncate'):
            setattr(os, name, self._counted(getattr(os, name), name))
        plain = builtins.open

        def opened(file: Any, mode: str = 'r', *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set('wax+') or not self.concerns(file):
                return plain(file, mode, *args, **kwargs)
            self.at('open', file)
            return _File(plain(file, mode, *args, **kwargs), file, self)

        builtins.open = io.open = opened

    def _counted(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counted(path: Any, *args: Any, **kwargs: Any) -> Any:
            if self.concerns(path):
                self.at('unlink' if name == 'remove' else name, path)
            return function(path, *args, **kwargs)

        return counted


class _File:
    """An open file whose operations count."""

    def __init__(self, file: Any, path: Any, faults: Faults) -> None:
        self._file, self._path, self._faults = file, path, faults

    def write(self, data: Any) -> Any:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._faults.at('write', self._path, half)
        return self._file.write(data)

    def flush(self) -> None:
        self._faults.at('flush', self._path)
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            # an error of closing is one of flushing, and the file is closed all the same
            half = None if self._faults.fault == 'end' else self._file.close
            self._faults.at('close', self._path, half)
        self._file.close()

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def main() -> None:
    fault, number, folder = sys.argv[1:4]
    sys.argv[:4] = [str(TRAIN)]
    faults = Faults(fault, int(number), folder)
    faults.install()
    try:
        runpy.run_path(str(TRAIN), run_name='__main__')
    finally:
        if fault == 'count':
            print('operations: ' + '\t'.join(faults.operations))


if __name__ == '__main__':
    main()
