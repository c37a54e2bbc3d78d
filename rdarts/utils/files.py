"""Reading files that may come from elsewhere."""

from __future__ import annotations

import os
import stat

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
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = 'Is a directory' if os.path.isdir(path) else 'not a regular file'
            raise UserError(f'cannot read {named}: {kind}')
        with open(path, 'rb') as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError of a NUL in the name
        if isinstance(error, UserError):
            raise
        reason = getattr(error, 'strerror', None) or 'that is no name of a file'
        raise UserError(f'cannot read {named}: {reason}') from None
    if len(data) > max_bytes:
        raise UserError(f'cannot read {named}: larger than {max_bytes:,} bytes')
    try:
        return data.decode('utf-8-sig')
    except UnicodeDecodeError:
        raise UserError(f'cannot read {named}: not a text file') from None
