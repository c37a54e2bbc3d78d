"""Images and labels from Hugging Face parquet files, or by hub name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rdarts.datasets.batch_files import check_labels
from rdarts.datasets.image_bytes import decode_image
from rdarts.errors import UserError

IMAGE_COLUMNS = ('img', 'image')
_SHARD = re.compile(r'-(\d+)-of-(\d+)')


def find_parquet(root: Path, split: str) -> list[Path]:
    """The parquet files of a split, in order.

    Args:
        root (Path): ``<split>.parquet`` or ``<split>-*.parquet`` is looked for there, then
            in its sub-folders.
        split (str): ``train`` or ``test``.

    Returns:
        list[Path]: The files; empty where there are none.

    Raises:
        UserError: A shard is missing, or several sub-folders hold the split.
    """
    wanted = re.compile(rf'{re.escape(split)}(-.*)?\.parquet')
    folders: dict[Path, list[Path]] = {}
    for pattern in ('*.parquet', '*/*.parquet'):
        for path in sorted(root.glob(pattern)):
            if wanted.fullmatch(path.name):
                folders.setdefault(path.parent, []).append(path)
        if folders:
            break
    if len(folders) > 1:
        names = ', '.join(str(folder) for folder in sorted(folders))
        raise UserError(f"several folders hold '{split}' parquet files: {names}; name one of them")
    files = next(iter(folders.values()), [])
    shards = [_SHARD.search(path.stem) for path in files]
    if all(shards) and shards:
        total = int(shards[0].group(2))
        missing = sorted(set(range(total)) - {int(shard.group(1)) for shard in shards})
        if missing:
            raise UserError(
                f'{files[0].parent}: shard {missing[0]:05d} of {total} of the split '
                f"'{split}' is missing"
            )
    return files


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetFile``, within a ``with`` block.

    Raises:
        UserError: pyarrow is missing, or the file is cut off or none, which may show within the
            block.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(f"{path}: reading parquet needs pyarrow: 'pip install pyarrow'") from error
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f'{path}: cut off or not a parquet file ({detail})') from error


def read_parquet(
    files: Sequence[Path], label_column: str, size: int, num_classes: int, limit: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read images and labels, decoded.

    Args:
        files (Sequence[Path]): Parquet files with a column ``img`` or ``image`` (struct of
            ``bytes`` and ``path``) and one of labels.
        label_column (str): The column of labels.
        size (int): Height and width of the images in pixels.
        num_classes (int): How many classes there are.
        limit (int, optional): Read the first that many rows. Defaults to None, all.

    Returns:
        tuple[np.ndarray, np.ndarray]: Images, uint8 RGB [N, size, size, 3], and labels, int64
        [N].

    Raises:
        UserError: pyarrow is missing, a file is damaged, lacks a column, or holds an
            unreadable image or a label out of range; the line names the file and the row.
    """

    def batches(path: Path) -> Iterator[Any]:
        with open_parquet(path) as file:
            columns = find_columns(file.schema_arrow, label_column, str(path))
            yield from file.iter_batches(batch_size=1000, columns=columns)

    images, labels, count = [], [], 0
    for path in files:
        left = None if limit is None else limit - count
        if left is not None and left <= 0:
            break
        file_images, file_labels = _read(
            batches(path), label_column, size, num_classes, left, str(path)
        )
        images.append(file_images)
        labels.append(file_labels)
        count += len(file_labels)
    return np.concatenate(images), np.concatenate(labels)


def read_hub(
    name: str,
    split: str,
    label_column: str,
    size: int,
    num_classes: int,
    limit: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Read a data set of the Hugging Face hub through the package ``datasets``.

    Args:
        name (str): The set's name there, such as ``uoft-cs/cifar10``.
        split (str): ``train`` or ``test``.
        label_column (str): The column of labels.
        size (int): Height and width of the images in pixels.
        num_classes (int): How many classes there are.
        limit (int, optional): Read the first that many rows. Defaults to None, all.

    Returns:
        tuple[np.ndarray, np.ndarray]: As :func:`read_parquet`.

    Raises:
        UserError: ``datasets`` is not installed, the set cannot be fetched, or it holds what
            :func:`read_parquet` refuses.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"hub='{name}' needs the package datasets: 'pip install datasets', or give a folder "
            'with data_root'
        ) from error
    try:
        loaded = datasets.load_dataset(name, split=split)
    except Exception as error:  # no network, no such set, a broken cache: the line says which
        detail = ' '.join(str(error).split()) or type(error).__name__
        raise UserError(f"hub='{name}', split '{split}' could not be fetched: {detail}") from error
    table = loaded.data.table
    where = f"hub set '{name}', split '{split}'"
    columns = find_columns(table.schema, label_column, where)
    batches = table.select(columns).to_batches(max_chunksize=1000)
    return _read(batches, label_column, size, num_classes, limit, where)


def find_columns(schema: Any, label_column: str, where: str) -> list[str]:
    """The columns of images and of labels, by name.

    Raises:
        UserError: One is missing or there twice, or the first has no ``bytes``.
    """
    image_column = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    held = ', '.join(schema.names)
    if image_column is None:
        raise UserError(f"{where}: no column 'img' or 'image' (it has {held})")
    if label_column not in schema.names:
        raise UserError(f"{where}: no column '{label_column}' (it has {held})")
    for name in (image_column, label_column):
        if schema.names.count(name) > 1:
            raise UserError(f"{where}: several columns '{name}' (it has {held})")
    kind = schema.field(image_column).type
    fields = [kind.field(i).name for i in range(kind.num_fields)]
    if 'bytes' not in fields:
        raise UserError(
            f"{where}: column '{image_column}' is {kind}, where a struct with 'bytes' is expected"
        )
    return [image_column, label_column]


def _read(
    batches: Iterable[Any],
    label_column: str,
    size: int,
    num_classes: int,
    limit: int | None,
    where: str,
) -> tuple[np.ndarray, np.ndarray]:
    images = [np.empty((0, size, size, 3), np.uint8)]
    labels: list[int] = []
    for batch in batches:
        if limit is not None:
            batch = batch.slice(0, limit - len(labels))
        (image_column,) = (name for name in batch.schema.names if name != label_column)
        block = np.empty((batch.num_rows, size, size, 3), np.uint8)
        for index, data in enumerate(batch.column(image_column).field('bytes').to_pylist()):
            block[index] = decode_image(data, size, f'{where}, row {len(labels) + index}')
        images.append(block)
        labels += batch.column(label_column).to_pylist()
        if len(labels) == limit:
            break
    return np.concatenate(images), check_labels(labels, num_classes, where)
