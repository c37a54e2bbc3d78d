"""The pickled batches of CIFAR and ImageNet16: checks and reading."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from rdarts.datasets.restricted_pickle import load_pickle
from rdarts.errors import UserError
from rdarts.utils.wording import plural

_warned: set[tuple[Path, ...]] = set()


def check_labels(labels: object, num_classes: int, where: str, first: int = 0) -> np.ndarray:
    """Labels as an array, none of them outside the classes.

    Args:
        labels (Sequence[int]): As read from a file.
        num_classes (int): How many classes there are.
        where (str): Names the file in an error.
        first (int): The number of the first class in the file. Defaults to 0.

    Returns:
        np.ndarray: int64 of shape [N], counted from 0.

    Raises:
        UserError: A label is no integer or out of range; the line names the row.
    """
    try:
        array = np.asarray(labels)
    except ValueError:  # rows of unequal length
        array = None
    if array is None or array.ndim != 1 or (array.size and array.dtype.kind not in 'iu'):
        raise UserError(f'{where}: the labels are not a list of integers')
    array = array.astype(np.int64) - first
    wrong = np.flatnonzero((array < 0) | (array >= num_classes))
    if wrong.size:
        row = int(wrong[0])
        raise UserError(
            f'{where}: label {int(array[row]) + first} in row {row} is out of range '
            f'{first} .. {first + num_classes - 1}'
        )
    return array


def read_batch(
    path: Path, label_key: str, size: int, num_classes: int, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Read one official batch file.

    Args:
        path (Path): The file.
        label_key (str): Where the labels are, such as ``fine_labels``.
        size (int): Height and width of the images in pixels.
        num_classes (int): How many classes there are.
        first (int): The number of the first class in the file. Defaults to 0.

    Returns:
        tuple[np.ndarray, np.ndarray]: Images, uint8 RGB [N, size, size, 3], and labels, int64
        [N], counted from 0.

    Raises:
        UserError: The file is missing, cut off, asks for code, lacks a key, its labels are
            out of range, or labels and images differ in number.
    """
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise UserError(f'{path}: holds a {type(content).__name__}, not the dict of a batch')
    missing = [key for key in ('data', label_key) if key not in content]
    if missing:
        held = ', '.join(sorted(map(str, content))) or 'nothing'
        raise UserError(f"{path}: no '{missing[0]}' in the batch (it holds {held})")
    data = content['data']
    length = 3 * size * size
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.ndim != 2
        or data.shape[1] != length
    ):
        found = f'{data.dtype} {list(data.shape)}' if isinstance(data, np.ndarray) else type(data)
        raise UserError(f"{path}: 'data' is {found} where uint8 [N, {length}] is expected")
    labels = check_labels(content[label_key], num_classes, str(path), first)
    if len(labels) != len(data):
        raise UserError(f'{path}: {plural(len(data), "image")} but {plural(len(labels), "label")}')
    return data.reshape(-1, 3, size, size).transpose(0, 2, 3, 1), labels


def read_batches(
    folder: Path,
    files: Sequence[tuple[str, str]],
    label_key: str,
    size: int,
    num_classes: int,
    *,
    first: int = 0,
    keep_classes: int | None = None,
    limit: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Read the batch files of one split, in order.

    Args:
        folder (Path): Where they lie.
        files (Sequence[tuple[str, str]]): Name and official md5 sum of each. Other sums are
            warned of, in one line and once a process, and read all the same.
        label_key (str): Where the labels are.
        size (int): Height and width of the images in pixels.
        num_classes (int): How many classes the files hold.
        first (int): The number of the first class in the files. Defaults to 0.
        keep_classes (int, optional): Keep the images of the first that many classes.
            Defaults to None, all.
        limit (int, optional): Keep the first that many images. Defaults to None, all.

    Returns:
        tuple[np.ndarray, np.ndarray]: Images, uint8 RGB [N, size, size, 3], and labels, int64
        [N].

    Raises:
        UserError: See :func:`read_batch`.
    """
    images, labels, read, count = [], [], [], 0
    for name, md5 in files:
        path = folder / name
        batch_images, batch_labels = read_batch(path, label_key, size, num_classes, first)
        read.append((path, md5))
        if keep_classes is not None:
            kept = batch_labels < keep_classes
            batch_images, batch_labels = batch_images[kept], batch_labels[kept]
        images.append(batch_images)
        labels.append(batch_labels)
        count += len(batch_labels)
        if limit is not None and count >= limit:
            break
    _warn_of_md5(read)
    return (
        np.ascontiguousarray(np.concatenate(images)[:limit]),
        np.concatenate(labels)[:limit],
    )


def _warn_of_md5(files: Sequence[tuple[Path, str]]) -> None:
    other = tuple(path for path, md5 in files if _md5(path) != md5)
    if other and other not in _warned:
        _warned.add(other)
        names = ', '.join(path.name for path in other)
        print_log(
            f'{other[0].parent}: not the official md5 sum: {names}; read all the same',
            logger='current',
            level=logging.WARNING,
        )


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
