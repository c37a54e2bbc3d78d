"""Images in tar or Parquet files: which there are, and the bytes of one.

A list of images has a locator of each, such as ``shard:///data/train-003.tar?512+1822=dog/1.jpg``,
which ``LoadImageFromFile`` of any pipeline reads as it reads a path. No worker holds a state but
row groups that it has read: an image is a function of its locator.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

from mmengine.fileio import BaseStorageBackend, register_backend

from rdarts.datasets.batch_files import check_labels
from rdarts.datasets.parquet import find_columns, find_parquet, open_parquet
from rdarts.datasets.tar_files import folders_of, tar_members
from rdarts.errors import UserError

PREFIX = 'shard'
OTHER_NAMES = {'val': ('validation',)}
"""Under which names a split is looked for beside its own."""
_SPLIT_NAMES = {'train', 'val', 'validation', 'test'}
LABEL_COLUMN = 'label'
CACHE_BYTES = 2**29
"""Of row groups that a process keeps, the newest of which always stays."""
MOST_GROUP_BYTES = 2**28
"""Of encoded images in a row group, which is read as a whole."""
MOST_BYTES = 2**28  # of an encoded image
MOST_IMAGES = 2**25  # in Parquet files; the locators of so many take some GB
_LOCATOR = re.compile(rf'{PREFIX}://(.+?)\?(\d+)\+(\d+)=(.*)', re.S)


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
        UserError: There are files of both kinds, the name of a tar file has the words of two
            splits, or a Parquet file of those that are numbered as ``-00000-of-00002`` is missing.
            Which tar files there should be, their names do not say.
    """
    found: list[Path] = []
    names = (split, *OTHER_NAMES.get(split, ()))
    for name in names:
        for path in root.glob('*.tar'):
            if not _has_word(path, name):
                continue
            found.append(path)
            other = [one for one in sorted(_SPLIT_NAMES - set(names)) if _has_word(path, one)]
            if other:
                raise UserError(f"{path}: '{name}' or '{other[0]}'? Its name says both: rename it")
        found += find_parquet(root, name)
        found += [*(root / name).glob('*.tar')]
        found += [p for p in (root / name).glob('*.parquet') if p not in found]
    found = sorted({path for path in found if path.is_file() and not path.name.startswith('.')})
    if len({path.suffix for path in found}) > 1:
        raise UserError(f"{root}: both .tar and .parquet files of the split '{split}': keep one")
    return found


def _has_word(path: Path, word: str) -> bool:
    return bool(re.fullmatch(rf'(.*[-_.])?{re.escape(word)}([-_.].*)?\.tar', path.name))


@lru_cache(maxsize=16)  # the parts of a search and its validation list the same files
def _listed(files: tuple[tuple[Path, int], ...], endings: tuple[str, ...]) -> Shards:
    paths = tuple(path for path, _ in files)
    return _list_parquet(paths) if paths[0].suffix == '.parquet' else _list_tars(paths, endings)


def list_images(files: Sequence[Path], endings: Sequence[str]) -> Shards:
    """What is in tar or Parquet files; only headers and labels are read.

    In a tar file, an image ends in one of ``endings``. Its class is the number in the file beside
    it that ends in ``.cls``, as WebDataset has it; else the first of its folders, without those
    that all images are in, such as ``train/``; else the name of its tar file where that lies in
    another, as in the archive of the ILSVRC 2012.

    In a Parquet file, images are the column ``image`` or ``img``, a struct whose ``bytes`` are the
    encoded file, and classes the integers in ``label``; their names are those that the Hugging Face
    hub writes beside the columns, else the numbers. A row group has 256 MB of images at most.

    Args:
        files (Sequence[Path]): All tar, or all Parquet.
        endings (Sequence[str]): Of images, with the dot.

    Raises:
        UserError: A file is damaged, compressed, cut off or too large, has no image, or an image no
            class, or two files do not fit together; the line names the file.
    """
    try:
        return _listed(tuple((p, p.stat().st_mtime_ns) for p in files), tuple(endings))
    except OSError as error:
        raise UserError(f'{error.filename}: cannot be read: {error.strerror}') from None


def locate(path: Path, first: int, second: int, name: str) -> str:
    """A locator: of a tar file offset and bytes, of a Parquet file row group and row."""
    # as a path a name has no '://', which mmengine takes for the end of a prefix
    return f'{PREFIX}://{path}?{first}+{second}={PurePosixPath(name)}'


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
    images: list[tuple[str, str, tuple[str, ...]]] = []  # locator, key, folders
    numbers: dict[str, str] = {}
    left_out: list[str] = []
    first: dict[str, Path] = {}  # where a tar file in these is
    for path in files:
        with open(path, 'rb') as file:
            for member in tar_members(file, path, endings):
                inside, size = member.inside, member.size
                if inside and first.setdefault(inside, path) != path:
                    raise UserError(f'{path}: {inside} in it is also in {first[inside]}: keep one')
                stem, ending = _split_name(member.name)
                key = f'{path}\n{inside}\n{stem}'
                if ending == '.cls':
                    file.seek(member.offset)
                    numbers[key] = file.read(min(size, 20)).decode('latin-1').strip()
                elif ending in endings and 0 < size <= MOST_BYTES:
                    folders = folders_of(member.name)
                    if inside and not folders:
                        folders = (PurePosixPath(inside).stem,)
                    locator = locate(path, member.offset, size, member.full_name)
                    images.append((locator, key, folders))
                else:
                    left_out.append(member.name)
    if not images:
        raise UserError(f'{files[0]}: no image in it; images end in {" ".join(sorted(endings))}')
    if numbers:
        labels = [_class_number(numbers, key, named(locator)) for locator, key, _ in images]
        classes = tuple(map(str, range(max(labels) + 1)))
    else:
        names = _class_folders([(locator, folders) for locator, _, folders in images])
        classes = tuple(sorted(set(names)))
        place = {name: label for label, name in enumerate(classes)}
        labels = [place[name] for name in names]
    pairs = zip(images, labels, strict=True)
    found = tuple((locator, label) for (locator, *_), label in pairs)
    return Shards(tuple(files), classes, found, tuple(left_out), numbered=bool(numbers))


def _class_folders(images: Sequence[tuple[str, tuple[str, ...]]]) -> list[str]:
    """The class of each image: the first of its folders that is not one of all images."""
    # what the first and the last in their order share, all share
    low, high = min(images, key=itemgetter(1))[1], max(images, key=itemgetter(1))[1]
    depth = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    if depth and low == high:
        depth -= 1  # a single class
    for locator, folders in images:
        if len(folders) == depth:
            raise _no_class(locator)
    names = [folders[depth] for _, folders in images]
    if set(names) <= _SPLIT_NAMES:
        raise _no_class(images[0][0])
    return names


def _no_class(locator: str) -> UserError:
    return UserError(
        f'{named(locator)}: in no folder of a class, and no .cls beside it; pack it as '
        '<class>/<image>, or with the number of its class in a .cls file beside it'
    )


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
            image_column, _ = find_columns(file.schema_arrow, LABEL_COLUMN, str(path))
            _check_size(file.metadata, image_column, len(images), path)
            _check_label_type(file.schema_arrow, path)
            told = _class_names(file.schema_arrow)
            if path != files[0] and told != names:
                raise UserError(f'{path}: its names of classes are not those of {files[0]}')
            names = told
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


def _check_size(metadata: Any, image_column: str, before: int, path: Path) -> None:
    """Refuse what would not fit into memory, by what a file says of itself."""
    if before + metadata.num_rows > MOST_IMAGES:
        raise UserError(
            f'{path}: {before + metadata.num_rows} images up to this file, but {MOST_IMAGES} at '
            'most are listed'
        )
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        columns = map(group.column, range(group.num_columns))
        size = sum(
            column.total_uncompressed_size
            for column in columns
            if column.path_in_schema == f'{image_column}.bytes'
        )
        if size > MOST_GROUP_BYTES:
            raise UserError(
                f'{path}, row group {index}: {size / 2**20:.0f} MB of images, which are read as a '
                f'whole; {MOST_GROUP_BYTES / 2**20:.0f} MB at most, so write the file anew in '
                'smaller row groups, as pyarrow.parquet.write_table(..., row_group_size=100) does'
            )


def _check_label_type(schema: Any, path: Path) -> None:
    from pyarrow import types

    kind = schema.field(LABEL_COLUMN).type
    if not types.is_integer(kind):
        raise UserError(f"{path}: column '{LABEL_COLUMN}' is {kind}, where integers are expected")


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
