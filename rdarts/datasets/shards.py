"""Images in tar or Parquet files: which there are, and the bytes of one.

A list of images has a locator of each, such as ``shard:///data/train-003.tar?512+1822=dog/1.jpg``,
which ``LoadImageFromFile`` of any pipeline reads as it reads a path. No worker holds a state but
row groups that it has read: an image is a function of its locator.
"""

from __future__ import annotations

import json
import re
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from mmengine.fileio import BaseStorageBackend, register_backend

from rdarts.datasets.batch_files import check_labels
from rdarts.datasets.parquet import find_columns, find_parquet, open_parquet
from rdarts.errors import UserError

PREFIX = 'shard'
OTHER_NAMES = {'val': ('validation',)}
"""Under which names a split is looked for beside its own."""
LABEL_COLUMN = 'label'
CACHE_BYTES = 2**29
"""Of row groups that a process keeps, the newest of which always stays."""
MOST_BYTES = 2**28  # of an encoded image
_LOCATOR = re.compile(rf'{PREFIX}://(.+?)\?(\d+)\+(\d+)=(.*)', re.S)
_TAR_BLOCK = 512


@dataclass(frozen=True)
class Shards:
    """The files of a split, and what is in them.

    Args:
        files (tuple[Path, ...]): All tar, or all Parquet.
        classes (tuple[str, ...]): Names, in order: labels count them.
        images (tuple[tuple[str, int], ...]): Locator and label of each, in the order of the files.
        left_out (tuple[str, ...]): Names of what is in the files and is no image. Defaults to ().
        numbered (bool): Whether classes have no names, so that there may be more than these.
            Defaults to False.
    """

    files: tuple[Path, ...]
    classes: tuple[str, ...]
    images: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...] = ()
    numbered: bool = False


def find_shards(root: Path, split: str) -> list[Path]:
    """The tar or Parquet files of a split.

    Args:
        root (Path): ``<split>.tar``, ``<anything>-<split>-<anything>.tar`` and the like are looked
            for there, then every ``.tar`` in ``<root>/<split>/``; of Parquet, what
            :func:`~rdarts.datasets.parquet.find_parquet` finds, and every ``.parquet`` in that
            folder.
        split (str): Such as ``train`` or ``val``, which may be called ``validation``.

    Returns:
        list[Path]: In the order of their names; empty where there are none.

    Raises:
        UserError: There are files of both kinds, or a shard of a numbered set is missing.
    """
    found: list[Path] = []
    for name in (split, *OTHER_NAMES.get(split, ())):
        word = re.compile(rf'(.*[-_.])?{re.escape(name)}([-_.].*)?\.tar')
        found += [path for path in root.glob('*.tar') if word.fullmatch(path.name)]
        found += find_parquet(root, name)
        found += [*(root / name).glob('*.tar')]
        found += [p for p in (root / name).glob('*.parquet') if p not in found]
    found = sorted({path for path in found if path.is_file() and not path.name.startswith('.')})
    if len({path.suffix for path in found}) > 1:
        raise UserError(f"{root}: both .tar and .parquet files of the split '{split}': keep one")
    return found


@lru_cache(maxsize=16)  # the parts of a search and its validation list the same files
def _listed(files: tuple[tuple[Path, int], ...], endings: tuple[str, ...]) -> Shards:
    paths = tuple(path for path, _ in files)
    return _list_parquet(paths) if paths[0].suffix == '.parquet' else _list_tars(paths, endings)


def list_images(files: Sequence[Path], endings: Sequence[str]) -> Shards:
    """What is in tar or Parquet files; only headers and labels are read.

    In a tar file, an image ends in one of ``endings``. Its class is the number in the file beside
    it that ends in ``.cls``, as WebDataset has it; else the folder that it is in; else the name of
    its tar file, which may itself lie in one, as in the archive of the ILSVRC 2012.

    In a Parquet file, images are the column ``image`` or ``img``, a struct whose ``bytes`` are the
    encoded file, and classes the integers in ``label``; their names are those that the Hugging Face
    hub writes beside the columns, else the numbers.

    Args:
        files (Sequence[Path]): All tar, or all Parquet.
        endings (Sequence[str]): Of images, with the dot.

    Raises:
        UserError: A file is damaged, compressed or cut off, has no image, or an image no class;
            the line names the file.
    """
    try:
        return _listed(tuple((p, p.stat().st_mtime_ns) for p in files), tuple(endings))
    except OSError as error:
        raise UserError(f'{error.filename}: cannot be read: {error.strerror}') from None


def locate(path: Path, first: int, second: int, name: str) -> str:
    """A locator: of a tar file offset and bytes, of a Parquet file row group and row."""
    return f'{PREFIX}://{path}?{first}+{second}={name}'


def in_groups(path: str) -> bool:
    """Whether a path is a locator of an image that is read with those beside it."""
    return path.startswith(f'{PREFIX}://') and file_of(path).endswith('.parquet')


def named(path: str) -> str:
    """A path for people: of a locator the file and the image's name in it."""
    found = _LOCATOR.fullmatch(path)
    return path if found is None else f'{found[1]}, {found[4]}'


def file_of(path: str) -> str:
    """The file on the disk that a path, or a locator, leads to."""
    found = _LOCATOR.fullmatch(path)
    return path if found is None else found[1]


# Tar


def _list_tars(files: Sequence[Path], endings: Sequence[str]) -> Shards:
    images: list[tuple[str, str, str]] = []  # locator, key, folder or tar
    numbers: dict[str, str] = {}
    left_out: list[str] = []
    for path in files:
        with open(path, 'rb') as file:
            for name, offset, size, tar in _members(file, str(path)):
                stem, ending = _split_name(name)
                key = f'{path}\n{stem}'
                if ending == '.cls':
                    file.seek(offset)
                    numbers[key] = file.read(min(size, 20)).decode('latin-1').strip()
                elif ending in endings and 0 < size <= MOST_BYTES:
                    folder = PurePosixPath(name).parent.name or tar
                    images.append((locate(path, offset, size, name), key, folder))
                else:
                    left_out.append(name)
    if not images:
        raise UserError(f'{files[0]}: no image in it; images end in {" ".join(sorted(endings))}')
    if numbers:
        labels = [_class_number(numbers, key, named(locator)) for locator, key, _ in images]
        classes = tuple(map(str, range(max(labels) + 1)))
    else:
        classes = tuple(sorted({folder for *_, folder in images}))
        place = {name: label for label, name in enumerate(classes)}
        labels = [place[folder] for *_, folder in images]
    pairs = zip(images, labels, strict=True)
    found = tuple((locator, label) for (locator, *_), label in pairs)
    return Shards(tuple(files), classes, found, tuple(left_out), numbered=bool(numbers))


def _members(file: Any, where: str, start: int = 0) -> Iterator[tuple[str, int, int, str]]:
    """Name, offset, size and the tar's own name of each file in a tar, and in tars within it.

    Raises:
        UserError: It is no tar, compressed, cut off, or has a file that is stored with holes.
    """
    stem = _split_name(PurePosixPath(where.rpartition(', ')[2]).name)[0]
    inner: list[tarfile.TarInfo] = []
    try:
        file.seek(start)
        with tarfile.open(fileobj=file, mode='r:') as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # else a million of them are kept
                if not member.isreg():
                    continue
                if member.issparse():
                    raise UserError(f'{where}: {member.name} is stored with holes: pack it anew')
                if member.name.endswith('.tar'):
                    inner.append(member)
                elif not PurePosixPath(member.name).name.startswith('.'):
                    yield member.name, member.offset_data, member.size, stem
            file.seek(tar.offset)
            if len(file.read(_TAR_BLOCK)) < _TAR_BLOCK:
                raise UserError(f'{where}: the end of the tar file is missing')
    except tarfile.TarError as error:
        raise UserError(
            f'{where}: damaged, compressed or no tar file ({error}); tar files are read as they '
            'are, so unpack what ends in .gz'
        ) from None
    for member in inner:
        if start:
            raise UserError(f'{where}: {member.name} is a tar file in a tar file in a tar file')
        yield from _members(file, f'{where}, {member.name}', member.offset_data)


def _split_name(name: str) -> tuple[str, str]:
    """A name without its ending, and the ending in small letters."""
    path = PurePosixPath(name)
    return str(path.with_suffix('')), path.suffix.lower()


def _class_number(numbers: dict[str, str], key: str, where: str) -> int:
    text = numbers.get(key)
    if text is None:
        raise UserError(f'{where}: no .cls beside it, which other images have')
    if not re.fullmatch(r'\d{1,6}', text, re.ASCII):
        raise UserError(f'{where}: its .cls holds {text!r}, not the number of a class')
    return int(text)


# Parquet


def _list_parquet(files: Sequence[Path]) -> Shards:
    images: list[tuple[str, int]] = []
    names: tuple[str, ...] | None = None
    for path in files:
        with open_parquet(path) as file:
            find_columns(file.schema_arrow, LABEL_COLUMN, str(path))
            names = names or _class_names(file.schema_arrow)
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=[LABEL_COLUMN]).column(LABEL_COLUMN)
                where = f'{path}, row group {group}'
                most = len(names) if names else 10**6
                labels = check_labels(column.to_pylist(), most, where).tolist()
                images += [
                    (locate(path, group, row, f'row {row} of group {group}'), label)
                    for row, label in enumerate(labels)
                ]
    if not images:
        raise UserError(f'{files[0]}: no image in it')
    count = max(label for _, label in images) + 1
    classes = names or tuple(map(str, range(count)))
    return Shards(tuple(files), classes, tuple(images), numbered=names is None)


def _class_names(schema: Any) -> tuple[str, ...] | None:
    """The names of the classes, as the hub writes them; None where they are not there."""
    try:
        told = json.loads((schema.metadata or {})[b'huggingface'])
        names = told['info']['features'][LABEL_COLUMN]['names']
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names) or None


# Bytes


class _Groups:
    """Row groups that were read last, up to a number of bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int], read: Callable[[str, int], Any]) -> Any:
        """A row group; it is read where it is not held."""
        with self._lock:
            if key not in self._held:
                self._held[key] = read(*key)
                self._bytes += self._held[key].nbytes
                while self._bytes > self.most and len(self._held) > 1:
                    self._bytes -= self._held.popitem(last=False)[1].nbytes
            self._held.move_to_end(key)
            return self._held[key]


_groups = _Groups(CACHE_BYTES)


def _read_group(path: str, group: int) -> Any:
    with open_parquet(Path(path)) as file:
        column, _ = find_columns(file.schema_arrow, LABEL_COLUMN, path)
        table = file.read_row_group(group, columns=[f'{column}.bytes'])
        return table.column(column).combine_chunks().field('bytes')


class ShardBackend(BaseStorageBackend):
    """Gives mmengine's file functions what a locator leads to."""

    def get(self, filepath: str) -> bytes:
        """The encoded image.

        Args:
            filepath (str): A locator.

        Raises:
            OSError: The file is gone or shorter than it was.
            UserError: It is damaged.
        """
        found = _LOCATOR.fullmatch(str(filepath))
        if found is None:
            raise FileNotFoundError(2, 'no image of a tar or Parquet file', str(filepath))
        path, first, second = found[1], int(found[2]), int(found[3])
        if path.endswith('.parquet'):
            group = _groups.get((path, first), _read_group)
            return group[second].as_py() or b''
        with open(path, 'rb') as file:
            file.seek(first)
            return file.read(second)

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """The same as text."""
        return self.get(filepath).decode(encoding)


register_backend(PREFIX, ShardBackend, force=True, prefixes=PREFIX)
