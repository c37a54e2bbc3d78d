"""Reading files that may come from elsewhere."""

from __future__ import annotations

import os
import stat

from rdarts.errors import UserError


def read_text(path: str | os.PathLike, max_bytes: int) -> str:
    """The text of a regular file.

    Nothing else is opened: a named pipe would be waited for, and a device can have no end.

    Args:
        path (str | PathLike): The file.
        max_bytes (int): The largest that it may be.

    Raises:
        FileNotFoundError: There is none.
        UserError: It cannot be read, is no regular file, larger, or not text in UTF-8.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = 'Is a directory' if os.path.isdir(path) else 'not a regular file'
            raise UserError(f'cannot read {os.fspath(path)}: {kind}')
        with open(path, 'rb') as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError of a NUL in the name
        if isinstance(error, UserError):
            raise
        reason = getattr(error, 'strerror', None) or 'that is no name of a file'
        raise UserError(f'cannot read {os.fspath(path)}: {reason}') from None
    if len(data) > max_bytes:
        raise UserError(f'cannot read {os.fspath(path)}: larger than {max_bytes:,} bytes')
    try:
        return data.decode('utf-8')
    except UnicodeDecodeError:
        raise UserError(f'cannot read {os.fspath(path)}: not a text file') from None
