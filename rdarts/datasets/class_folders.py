"""What lies in class folders: names, files, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rdarts.errors import UserError

NO_CLASSES = ('__MACOSX',)  # macOS's archives carry it


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is neither class nor image."""
    return name.startswith('.') or name in NO_CLASSES


def class_names(folder: Path) -> list[str]:
    """The names of the class folders in a folder, sorted.

    Raises:
        UserError: It cannot be read, or a link in it leads to nothing.
    """
    found = entries(folder)
    for entry in found:
        _refuse_special(entry)
    return sorted(entry.name for entry in found if entry.is_dir())


def entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """What is in a folder, hidden things left out."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise UserError(f'{folder}: cannot be read: {error.strerror}') from None


def files_below(folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Every file in a folder and below it, hidden ones left out."""
    try:
        status = os.stat(folder)
    except OSError as error:
        raise UserError(f'{folder}: cannot be read: {error.strerror}') from None
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise UserError(f'{folder}: a link to a folder that it lies in')
    for entry in entries(folder):
        _refuse_special(entry)
        if entry.is_dir():
            yield from files_below(entry.path, (*above, here))
        else:
            yield entry.path


def _refuse_special(entry: os.DirEntry[str]) -> None:
    """What is neither a file nor a folder would be skipped, or waited for."""
    if entry.is_dir() or entry.is_file():
        return
    if entry.is_symlink() and not os.path.exists(entry.path):
        raise UserError(f'{entry.path}: a link to {os.readlink(entry.path)}, which is not there')
    raise UserError(f'{entry.path}: neither a file nor a folder')
