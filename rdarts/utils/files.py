"""Files: read where they may come from elsewhere, written whole or not at all."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rdarts.errors import UserError


def read_text(path: str | os.PathLike, max_bytes: int, what: str = '') -> str:
    """The text of a regular file.

    Nothing else is opened: a named pipe would be waited for, and a device can have no end. A byte
    order mark before the text is skipped.

    Args:
        path (str | PathLike): The file.
        max_bytes (int): The largest that it may be.
        what (str): What it is, for the error. Defaults to nothing.

    Raises:
        FileNotFoundError: There is none.
        UserError: It cannot be read, is no regular file, larger, or not text in UTF-8.
    """
    named = ' '.join(filter(None, (what, os.fspath(path))))
    try:
        _check_regular(path, named)
        with open(path, 'rb') as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise _unreadable(error, named) from None
    if len(data) > max_bytes:
        raise UserError(f'cannot read {named}: larger than {max_bytes:,} bytes')
    try:
        return data.decode('utf-8-sig')
    except UnicodeDecodeError:
        raise UserError(f'cannot read {named}: not a text file') from None


def read_lines(path: str | os.PathLike, max_bytes: int) -> Iterator[bytes]:
    """The lines of a regular file, one after the other, as :func:`read_text` reads it.

    Args:
        path (str | PathLike): The file.
        max_bytes (int): The largest that it may be.

    Yields:
        bytes: A line without its end.

    Raises:
        FileNotFoundError: There is none.
        UserError: It cannot be read, is no regular file, or larger.
    """
    left = max_bytes
    try:
        _check_regular(path, os.fspath(path))
        with open(path, 'rb') as file:
            while line := file.readline(left + 1):
                left -= len(line)
                if left < 0:
                    raise UserError(f'cannot read {path}: larger than {max_bytes:,} bytes')
                first = left + len(line) == max_bytes
                yield (line.removeprefix(codecs.BOM_UTF8) if first else line).rstrip(b'\r\n')
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise _unreadable(error, os.fspath(path)) from None


def _check_regular(path: str | os.PathLike, named: str) -> None:
    if not stat.S_ISREG(os.stat(path).st_mode):
        kind = 'Is a directory' if os.path.isdir(path) else 'not a regular file'
        raise UserError(f'cannot read {named}: {kind}')


def _unreadable(error: Exception, named: str) -> UserError:
    if isinstance(error, UserError):
        return error
    # ValueError of a NUL in the name
    reason = getattr(error, 'strerror', None) or 'that is no name of a file'
    return UserError(f'cannot read {named}: {reason}')


def check_output(path: str | os.PathLike) -> Path:
    """Make the folder of a file that is to be written, and see that it can be.

    Raises:
        UserError: It cannot.
    """
    path = Path(path)
    probe = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b'')
        probe.unlink()
        reason = 'it is a folder' if path.is_dir() else None
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise UserError(f'{path} cannot be written: {reason}')
    return path


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all.

    Raises:
        OSError: It cannot be written; ``filename`` says which file. What was there stays.
    """
    temporary = path.with_name(f'.{path.name}.tmp')
    try:
        with open(temporary, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # on a broken disk that fails too
            temporary.unlink(missing_ok=True)
        if error.errno is not None:
            error.filename = str(path)
        raise


def printable(text: object) -> str:
    """Text of a file's name: bytes that are no UTF-8 are escaped, as ``\\xff``."""
    return str(text).encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')


def sync_folder(folder: Path) -> None:
    """Make what was renamed in a folder outlast a power cut, where the file system can."""
    if os.name != 'posix':
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(number)
