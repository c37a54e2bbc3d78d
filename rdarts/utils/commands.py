"""Paths and commands as tools print them: commands can be copied into a shell as they stand."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# In an installation, which a clone links to itself; or in a clone that is not installed
TOOLS = next(
    (
        folder.resolve()
        for folder in (_PACKAGE / '.mim' / 'tools', _PACKAGE.parent / 'tools')
        if (folder / 'train.py').is_file()
    ),
    _PACKAGE.parent / 'tools',
)


def short_path(path: str | os.PathLike[str]) -> str:
    """A path relative to the working directory, where that is shorter.

    Args:
        path (str | PathLike): The path.
    """
    whole = os.fspath(path)
    try:
        relative = os.path.relpath(whole)
    except (OSError, ValueError):  # the working directory is gone, or another drive
        return whole
    return relative if len(relative) < len(whole) else whole


def shown_path(path: str | os.PathLike[str]) -> str:
    """What :func:`short_path` gives, as a shell takes it.

    Args:
        path (str | PathLike): The path.
    """
    shown = short_path(path)
    if shown.startswith('-'):  # else a tool takes it for an option
        shown = f'./{shown}'
    if shown.isprintable():
        return shlex.quote(shown)
    # bytes that are no text, line breaks and the like, as bash takes them
    escaped = (
        chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f'\\x{byte:02x}'
        for byte in os.fsencode(shown)
    )
    return f"$'{''.join(escaped)}'"


def command(tool: str, *arguments: str | os.PathLike[str]) -> str:
    """A command that starts one of our tools.

    Args:
        tool (str): Its path in ``tools/``.
        *arguments (str | PathLike): A path is shown as :func:`shown_path` does, a string quoted.
    """
    words = [shlex.quote(word) if isinstance(word, str) else shown_path(word) for word in arguments]
    place = shown_path(TOOLS / tool) if (TOOLS / tool).is_file() else f'tools/{tool}'
    return ' '.join(['python', place, *words])
