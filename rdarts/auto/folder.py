"""What a folder of images holds, before anything is made of it."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rdarts.datasets.class_folders import class_names, entries, files_below
from rdarts.datasets.image_bytes import read_image
from rdarts.datasets.image_folder import readable_extensions
from rdarts.datasets.splits import split_indices
from rdarts.deploy.classification import silence_opencv
from rdarts.errors import UserError
from rdarts.utils.files import printable
from rdarts.utils.wording import plural

HELD_OUT = ('val', 'valid', 'validation', 'test')
"""Folders beside ``train`` whose images are held out, in the order in which they are looked for."""
LEAST = 5
"""Readable images that each class needs for the search and the training."""
LEAST_HELD_OUT = 1
UNBALANCED = 5
"""The largest class may have so many times the images of the smallest before that is said."""
SHOWN = 10
"""Files that cannot be read, in the lines."""


@dataclass(frozen=True)
class Image:
    """An image that can be read.

    Args:
        path (str): Its file.
        label (int): The number of its class.
        width (int): In pixels.
        height (int): In pixels.
        grey (bool): Whether no pixel has a colour.
    """

    path: str
    label: int
    width: int
    height: int
    grey: bool


@dataclass(frozen=True)
class ImageFolders:
    """What a folder holds.

    Args:
        root (Path): The folder.
        classes (tuple[str, ...]): Names of the classes, in the order of their labels.
        train (tuple[Image, ...]): Images to search and train with.
        held_out (tuple[Image, ...]): Images that only the evaluation at the end sees.
        split (str | None): The folder that these are from; None where they are a part of the
            others, drawn by the seed.
        unreadable (tuple[str, ...]): Image files that cannot be read.
        others (int): Files that are no images by their endings.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[Image, ...]
    held_out: tuple[Image, ...]
    split: str | None
    unreadable: tuple[str, ...]
    others: int

    @property
    def images(self) -> tuple[Image, ...]:
        """All that can be read."""
        return self.train + self.held_out

    @property
    def side(self) -> int:
        """The median of the shorter sides, in pixels."""
        return int(statistics.median(min(one.width, one.height) for one in self.images))

    @property
    def grey(self) -> bool:
        """Whether no image has a colour, as scans and drawings."""
        return all(one.grey for one in self.images)

    def lines(self) -> list[str]:
        """What there is to say of it."""
        counts = np.bincount([one.label for one in self.train], minlength=len(self.classes))
        widths, heights = ([getattr(one, k) for one in self.images] for k in ('width', 'height'))
        named = ', '.join(map(printable, self.classes[:SHOWN]))
        least, most = counts.min(), counts.max()
        balance = f'{least} to {most} a class' if least < most else f'{most} of each class'
        if most > UNBALANCED * least:
            name = printable(self.classes[int(counts.argmin())])
            balance += f", unbalanced: '{name}' has the fewest"
        held = f"from '{self.split}'" if self.split else 'a part of each class, drawn by the seed'
        found = [
            f'images:   {len(self.train)} to train with, {balance}',
            f'held out: {len(self.held_out)}, {held}',
            f'classes:  {len(self.classes)}: {named}{", ..." if self.classes[SHOWN:] else ""}',
            f'sizes:    {_range(widths)} x {_range(heights)} pixels, half of the shorter sides at '
            f'most {self.side}{"; all grey" if self.grey else ""}',
        ]
        if self.others:
            found.append(f'left out: {plural(self.others, "file")} that no image has the ending of')
        if self.unreadable:
            count = len(self.unreadable)
            found.append(f'left out: {plural(count, "image file")} that cannot be read:')
            found += [f'          {printable(path)}' for path in self.unreadable[:SHOWN]]
            if count > SHOWN:
                found.append(f'          and {count - SHOWN} more (all of them in auto.json)')
        return found


def inspect_folder(root: str | os.PathLike, held_out: float = 0.2, seed: int = 0) -> ImageFolders:
    """Look at a folder with ``<class>/``, or with ``train/<class>/`` and ``val/<class>/``.

    Every image is decoded once. Files that cannot be read are left out, and listed. Where no
    folder of :data:`HELD_OUT` is beside ``train``, a share of each class is held out.

    Args:
        root (str | PathLike): The folder.
        held_out (float): That share, inside (0, 1). Defaults to .2.
        seed (int): By which it is drawn. Defaults to 0.

    Raises:
        UserError: It is not there, or has too few classes or images to search with.
    """
    root = Path(root)
    if not root.is_dir():
        what = 'is no folder' if root.exists() else 'is not there'
        raise UserError(f'{root} {what}: give a folder with one folder of images a class')
    folder = root / 'train' if (root / 'train').is_dir() else root
    classes = class_names(folder)
    if len(classes) < 2:
        found = f'only one class folder, {classes[0]!r},' if classes else 'no class folders'
        raise UserError(
            f'{printable(folder)}: {found} in it, but a classifier needs two classes or more: '
            'one folder of images a class'
        )
    silence_opencv()
    train, unreadable, others = _read(folder, classes)
    split, held = None, ()
    if folder != root:
        split = next((name for name in HELD_OUT if (root / name).is_dir()), None)
    if split is not None:
        own = class_names(root / split)
        if own != classes:
            differing = ', '.join(sorted(set(own) ^ set(classes)))
            raise UserError(
                f'{printable(root / split)}: not the classes of train; they differ in: '
                f'{printable(differing)}'
            )
        held, more, beside = _read(root / split, classes)
        unreadable, others = unreadable + more, others + beside
        _check_counts(held, classes, LEAST_HELD_OUT, 'held-out image', unreadable)
    _check_counts(train, classes, LEAST, 'image', unreadable)
    if split is None:
        labels = np.array([one.label for one in train])
        first, second = split_indices(len(train), held_out, 'stratified', seed, labels)
        part = (tuple(train[i] for i in places) for places in (second, first))
        train, held = part
        _check_counts(held, classes, LEAST_HELD_OUT, 'held-out image', unreadable)
        _check_counts(train, classes, LEAST - 1, 'image', unreadable)
    return ImageFolders(
        root, tuple(classes), tuple(train), tuple(held), split, tuple(unreadable), others
    )


def _read(folder: Path, classes: Sequence[str]) -> tuple[list[Image], list[str], int]:
    """Images that can be read, in their order, files that cannot, and how many are none."""
    endings = readable_extensions()
    listed, others = [], 0
    for label, name in enumerate(classes):
        files = sorted(files_below(str(folder / name)))
        images = [path for path in files if path.lower().endswith(endings)]
        others += len(files) - len(images)
        listed += [(path, label) for path in images]
    others += sum(entry.is_file() for entry in entries(folder))
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1))) as pool:
        found = list(pool.map(_image, *zip(*listed, strict=True))) if listed else []
    unreadable = [path for (path, _), one in zip(listed, found, strict=True) if one is None]
    return [one for one in found if one is not None], unreadable, others


def _image(path: str, label: int) -> Image | None:
    try:
        pixels = read_image(path)
    except UserError:
        return None
    height, width = pixels.shape[:2]
    grey = bool((pixels == pixels[..., :1]).all())
    return Image(path, label, width, height, grey)


def _check_counts(
    images: Sequence[Image],
    classes: Sequence[str],
    least: int,
    what: str,
    unreadable: Sequence[str],
) -> None:
    counts = np.bincount([one.label for one in images], minlength=len(classes))
    if counts.min() >= least:
        return
    name = printable(classes[int(counts.argmin())])
    bad = f' ({plural(len(unreadable), "file")} cannot be read: {_named(unreadable)})'
    raise UserError(
        f"class '{name}' has {plural(int(counts.min()), what)} that can be read, but {least} are "
        f'the least{bad if unreadable else ""}'
    )


def _named(paths: Sequence[str]) -> str:
    more = ', ...' if len(paths) > SHOWN else ''
    return ', '.join(map(printable, paths[:SHOWN])) + more


def _range(values: Iterator[int] | Sequence[int]) -> str:
    least, most = min(values), max(values)
    return f'{least}' if least == most else f'{least}-{most}'
