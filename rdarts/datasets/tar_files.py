"""What is in a tar file, and in tar files within it; what is damaged is refused, never left out."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rdarts.datasets.class_folders import is_hidden
from rdarts.errors import UserError

MOST_HEADER = 2**20
"""Bytes of a header with what extends it, such as a long name."""
# What tarfile raises of damaged headers, beside its own errors
_DAMAGED = (tarfile.TarError, ValueError, IndexError, OverflowError, MemoryError, RecursionError)


@dataclass(frozen=True)
class Member:
    """A file in a tar file.

    Args:
        name (str): As it stands there.
        offset (int): Of its first byte, in the file on the disk.
        size (int): In bytes, from 0.
        inside (str): The name of the tar file in the tar file that it is in. Defaults to ''.
    """

    name: str
    offset: int
    size: int
    inside: str = ''

    @property
    def full_name(self) -> str:
        """Its name after that of the tar file in the tar file."""
        return f'{self.inside}, {self.name}' if self.inside else self.name


class _Headers:
    """A part of a file as ``tarfile`` reads it, which it never leaves, nor with much memory."""

    def __init__(self, file: Any, start: int, size: int) -> None:
        self._file, self._start, self._size = file, start, size
        self.seek(0)

    def seek(self, place: int) -> None:
        self._file.seek(self._start + place)

    def tell(self) -> int:
        return self._file.tell() - self._start

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MOST_HEADER:
            raise tarfile.ReadError(f'a header of {size} bytes')
        return self._file.read(max(0, min(size, self._size - self.tell())))


def tar_members(file: Any, path: Path, endings: Collection[str]) -> Iterator[Member]:
    """Each file in a tar file, and in the tar files in it; hidden ones are left out.

    Args:
        file (BinaryIO): Open for reading; it may be read from between two members.
        path (Path): Where it lies, for errors.
        endings (Collection[str]): Of images, in small letters, with the dot.

    Yields:
        Member: In the order of the file, those of tar files in it last.

    Raises:
        UserError: It is no tar file, compressed, cut off or damaged, an image in it is a link or
            stored with holes, or a tar file in it has no image, or a tar file.
    """
    yield from _members(file, str(path), Member('', 0, os.fstat(file.fileno()).st_size), endings)


def _members(file: Any, where: str, of: Member, endings: Collection[str]) -> Iterator[Member]:
    headers = _Headers(file, of.offset, of.size)
    inner: list[Member] = []
    images = 0
    with _refused(where):
        tar = tarfile.open(fileobj=headers, mode='r:')
    while True:
        with _refused(where):
            found = tar.next()
        tar.members = []  # else a million of them are kept
        if found is None:
            break
        member = _checked(found, tar.offset, where, of, endings)
        if member is None:
            continue
        if _ending(member.name) != '.tar':
            images += _ending(member.name) in endings
            yield member
        elif of.name:
            raise UserError(f'{where}: {member.name} is a tar file in a tar file in a tar file')
        else:
            inner.append(member)
    _check_end(headers, tar.offset, where)
    if of.name and not images:
        raise UserError(f'{where}: no image in it; images end in {" ".join(sorted(endings))}')
    for member in inner:
        yield from _members(file, f'{where}, {member.name}', member, endings)


def _checked(
    found: tarfile.TarInfo, end: int, where: str, of: Member, endings: Collection[str]
) -> Member | None:
    """A file in a tar file, whose next header stands at ``end``; None of what is no file."""
    name = found.name
    stored = found.isreg()
    if stored and found.issparse():
        raise UserError(f'{where}: {name} is stored with holes: pack it anew')
    if found.size < 0 or found.offset_data + found.size * stored > end:
        raise UserError(f'{where}: damaged: {name!r} has {found.size} bytes by its header')
    if stored and not PurePosixPath(name).name:
        raise UserError(f'{where}: a file in it has no name but {name!r}: pack it anew')
    if found.isdir() or any(is_hidden(part) for part in folders_of(name, last=True)):
        return None
    if not stored and (_ending(name) == '.tar' or _ending(name) in endings):
        raise UserError(
            f'{where}: {name} is a link, not a file: pack it anew with --dereference and '
            '--hard-dereference'
        )
    return Member(name, of.offset + found.offset_data, found.size, of.name) if stored else None


def _check_end(headers: _Headers, end: int, where: str) -> None:
    """``tarfile`` ends at whatever is no header as if it were the end."""
    headers.seek(end)
    rest = headers.read(MOST_HEADER)
    if len(rest) < tarfile.BLOCKSIZE:
        raise UserError(f'{where}: the end of the tar file is missing')
    if rest[: tarfile.BLOCKSIZE].strip(b'\0'):
        raise UserError(f'{where}: damaged: neither a file nor the end at byte {end}')
    if rest.strip(b'\0'):
        raise UserError(f'{where}: goes on after its end at byte {end}: pack it anew')


def folders_of(name: str, last: bool = False) -> tuple[str, ...]:
    """The folders in a name, and with ``last`` what is in them; ``/`` and ``..`` are none."""
    parts = PurePosixPath(name).parts
    kept = parts if last else parts[:-1]
    return tuple(part for part in kept if part not in ('/', '//', '..'))


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


@contextmanager
def _refused(where: str) -> Iterator[None]:
    """Within it nothing but ``tarfile`` is called."""
    try:
        yield
    except _DAMAGED as error:
        why = str(error) or type(error).__name__
        raise UserError(
            f'{where}: damaged, compressed or no tar file ({why}); tar files are read as they '
            'are, so unpack what ends in .gz'
        ) from None
