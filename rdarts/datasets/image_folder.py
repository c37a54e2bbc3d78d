"""Images of one's own, in class folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from mmpretrain.datasets import CustomDataset

from rdarts.datasets.no_refetch import NoRefetch
from rdarts.datasets.paths import resolve_data_root
from rdarts.errors import UserError
from rdarts.registry import DATASETS


@DATASETS.register_module()
class ImageFolder(NoRefetch, CustomDataset):
    """mmpretrain's ``CustomDataset`` over class folders, without its silent replacements.

    The images lie in ``<root>/<split>/<class>/``, or, where there is no folder ``train``,
    ``split='train'`` are those in ``<root>/<class>/``. Classes are numbered in the order of their
    names; every split must have the classes of ``train``. The pipeline starts with
    ``LoadImageFromFile``.

    Args:
        split (str): A folder's name, such as ``train``, ``val`` or ``test``. Everything but
            ``train`` counts as test images. Defaults to ``train``.
        data_root (str, optional): The folder. Defaults to None: ``$RDARTS_DATA/image_folder``,
            else ``data/image_folder``.
        pipeline (Sequence): Transforms or their configs. Defaults to ().
        limit (int, optional): Use that many images, spread evenly over the list, which is
            sorted by class. Defaults to None, all.
        **kwargs: Further arguments of ``CustomDataset``, such as ``extensions``.

    Raises:
        UserError: The folder is missing, holds no image, or has other classes than ``train``;
            later, when a sample is taken: its image is unreadable. The line names the file.
    """

    default_folder = 'image_folder'

    def __init__(
        self,
        split: str = 'train',
        data_root: str | os.PathLike[str] | None = None,
        pipeline: Sequence[Any] = (),
        limit: int | None = None,
        **kwargs: Any,
    ) -> None:
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise UserError(f'ImageFolder: limit is a number of images from 1, but got {limit!r}')
        self.split = split
        self.limit = limit
        root = resolve_data_root(data_root, self.default_folder)
        self._train_folder = root / 'train' if (root / 'train').is_dir() else root
        folder = self._train_folder if split == 'train' else root / split
        if not folder.is_dir():
            raise UserError(
                f"{root}: no folder '{split}' in it; the images of that split lie in "
                f'{split}/<class>/'
            )
        super().__init__(data_root=str(folder), data_prefix='', pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the images of all class folders.

        Returns:
            list[dict]: ``img_path`` and ``gt_label`` of each, sorted by class and name.
        """
        folder = Path(self.img_prefix)
        classes, expected = _class_names(folder), _class_names(self._train_folder)
        if not classes:
            raise UserError(f'{folder}: no class folders in it')
        if classes != expected:
            differing = ', '.join(sorted(set(classes) ^ set(expected)))
            raise UserError(
                f'{folder}: not the classes of {self._train_folder}; they differ in: {differing}'
            )
        try:
            samples = super().load_data_list()
        except (AssertionError, RuntimeError) as error:
            raise UserError(f'{folder}: {" ".join(str(error).split())}') from error
        if self.limit is not None and self.limit < len(samples):
            samples = [samples[i * len(samples) // self.limit] for i in range(self.limit)]
        return samples

    def prepare_data(self, idx: int) -> Any:
        """One sample after the pipeline.

        Args:
            idx (int): Its index.

        Raises:
            UserError: The image is unreadable.
        """
        try:
            return super().prepare_data(idx)
        except Exception as error:
            path = self.get_data_info(idx)['img_path']
            if _is_readable(path):
                raise
            raise UserError(f'{path}: unreadable image') from error

    def describe_sample(self, idx: int) -> str:
        """The image's path."""
        return str(self.get_data_info(idx)['img_path'])


@DATASETS.register_module()
class ImageNetFolder(ImageFolder):
    """ImageNet-1k as :class:`ImageFolder`, in ``$RDARTS_DATA/imagenet`` or ``data/imagenet``."""

    default_folder = 'imagenet'


def _class_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


def _is_readable(path: str) -> bool:
    try:
        return cv2.imread(path) is not None
    except cv2.error:
        return False
