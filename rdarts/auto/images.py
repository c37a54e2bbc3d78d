"""The images of a folder as the toolbox's data sets read them: links, those to train with apart."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rdarts.auto.folder import Image, ImageFolders
from rdarts.errors import UserError

SPLITS = ('train', 'val')


def link_images(found: ImageFolders, target: Path) -> None:
    """Write ``<target>/train/<class>/`` and ``<target>/val/<class>/``, of links to the images.

    The folder is there whole or not at all; what can't be read and what is no image is left out.

    Args:
        found (ImageFolders): The images.
        target (Path): The folder, which is not there yet.

    Raises:
        UserError: It cannot be written, or the file system has no links.
    """
    part = target.with_name(f'.{target.name}.part')
    try:
        if part.exists():  # of a run that was killed here
            shutil.rmtree(part)
        for split, images in zip(SPLITS, (found.train, found.held_out), strict=True):
            _link(images, found.classes, part / split)
        os.replace(part, target)
    except OSError as error:
        raise UserError(f'{target} cannot be written: {error.strerror}') from None


def _link(images: Sequence[Image], classes: Sequence[str], folder: Path) -> None:
    for name in classes:
        (folder / name).mkdir(parents=True)
    for place, image in enumerate(images):
        # the number keeps the order, and apart what lies in several folders below the class's
        link = folder / classes[image.label] / f'{place:07d}_{os.path.basename(image.path)}'
        link.symlink_to(os.path.realpath(image.path))
