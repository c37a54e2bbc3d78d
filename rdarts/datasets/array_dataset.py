"""Data sets of small images that are held in memory as one array."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from mmpretrain.datasets import BaseDataset

from rdarts.datasets.no_refetch import NoRefetch
from rdarts.errors import UserError, nearest

SPLITS = ('train', 'test')


class ImageArrays:
    """Images, uint8 RGB [N, H, W, 3], and labels, int64 [N], shared between data sets.

    Args:
        images (np.ndarray): The images.
        labels (np.ndarray): The labels.
    """

    __slots__ = ('__weakref__', 'images', 'labels')

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images = images
        self.labels = labels


_loaded: WeakValueDictionary[Hashable, ImageArrays] = WeakValueDictionary()


class ArrayDataset(NoRefetch, BaseDataset):
    """Base of the sets of small images.

    Each item enters the pipeline as ``dict(img, gt_label, img_shape, ori_shape, sample_idx)``,
    where ``img`` is a uint8 RGB copy of shape [H, W, 3]: the pipeline needs no loading
    transform, and the data preprocessor has ``to_rgb=False``. Within one process the arrays
    of a set are loaded once and shared by all data sets over it, as long as one of them lives.

    A subclass gives ``METAINFO`` and overrides :meth:`source` and :meth:`load_arrays`.

    Args:
        split (str): ``train`` or ``test``. Defaults to ``train``.
        pipeline (Sequence): Transforms or their configs. Defaults to ().
        limit (int, optional): Use the first that many images. Defaults to None, all.
        metainfo (dict, optional): What replaces entries of ``METAINFO``. Defaults to None.
        lazy_init (bool): Load at the first use instead of at once. Defaults to False.
        test_mode (bool): Whether to treat the set as test images. Defaults to False.

    Raises:
        UserError: The split is not known, or the limit is not a positive number.
    """

    def __init__(
        self,
        split: str = 'train',
        pipeline: Sequence[Any] = (),
        limit: int | None = None,
        metainfo: dict[str, Any] | None = None,
        lazy_init: bool = False,
        test_mode: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise UserError(
                f"{type(self).__name__}: unknown split '{split}': {nearest(str(split), SPLITS)}"
            )
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise UserError(
                f'{type(self).__name__}: limit is a number of images from 1, but got {limit!r}'
            )
        self.split = split
        self.limit = limit
        self.arrays: ImageArrays | None = None
        super().__init__(
            ann_file='',
            metainfo=metainfo,
            pipeline=pipeline,
            serialize_data=False,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    def source(self) -> Hashable:
        """What the arrays are a function of, apart from class, split and limit.

        Returns:
            Hashable: Such as the resolved folder.
        """
        raise TypeError(f'{type(self).__name__} does not override source()')

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the split.

        Returns:
            tuple[np.ndarray, np.ndarray]: Images, uint8 RGB [N, H, W, 3], and labels, int64 [N].
        """
        raise TypeError(f'{type(self).__name__} does not override load_arrays()')

    def full_init(self) -> None:
        """Load the arrays, where that has not been done."""
        if self._fully_initialized:
            return
        key = (type(self), self.source(), self.split, self.limit)
        arrays = _loaded.get(key)
        if arrays is None:
            images, labels = self.load_arrays()
            arrays = ImageArrays(images[: self.limit], labels[: self.limit])
            if not len(arrays.labels):
                raise UserError(f'{self.describe()}: no images')
            _loaded[key] = arrays
        self.arrays = arrays
        self._fully_initialized = True

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """One sample before the pipeline.

        Args:
            idx (int): Its index; negative ones count from the end.

        Returns:
            dict: ``img`` (a copy), ``gt_label``, ``img_shape``, ``ori_shape``, ``sample_idx``.
        """
        self.full_init()
        index = operator.index(idx)
        length = len(self)
        if not -length <= index < length:
            raise IndexError(f'{type(self).__name__} has {length} images, but got index {index}')
        index %= length
        image = self.arrays.images[index].copy()
        shape = image.shape[:2]
        return dict(
            img=image,
            gt_label=int(self.arrays.labels[index]),
            img_shape=shape,
            ori_shape=shape,
            sample_idx=index,
        )

    def get_gt_labels(self) -> np.ndarray:
        """The label of every image.

        Returns:
            np.ndarray: int64 of shape [N], a copy.
        """
        self.full_init()
        return self.arrays.labels.copy()

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of one image, as a list."""
        self.full_init()
        return [int(self.arrays.labels[idx])]

    def describe(self) -> str:
        """Names the set in an error.

        Returns:
            str: Such as ``CIFAR10 (/data/cifar10), split 'train'``.
        """
        return f"{type(self).__name__} ({self.source()}), split '{self.split}'"

    def extra_repr(self) -> list[str]:
        """What mmpretrain prints of the set."""
        return [f'Split: \t{self.split}', f'Source: \t{self.source()}']

    def __len__(self) -> int:
        self.full_init()
        return len(self.arrays.labels)
