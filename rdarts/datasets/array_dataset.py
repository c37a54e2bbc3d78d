"""Data sets of small images that are held in memory as one array."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Sequence
from typing import Annotated, Any
from weakref import WeakValueDictionary

import numpy as np
from mmpretrain.datasets import BaseDataset

from rdarts.configuration.declarations import Among, Positive
from rdarts.datasets.batch_transforms import CollatedBatch, is_batch_pipeline
from rdarts.datasets.hashing import SampleGenerator
from rdarts.datasets.no_refetch import NoRefetch
from rdarts.datasets.seeded import SeededIndex
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

    A pipeline of batch transforms (:class:`rdarts.datasets.BatchTransform`) gets a whole batch
    at once instead: ``dict(img, gt_label, sample_idx, ori_shape, epoch, generator)`` with ``img``
    of shape [N, 3, H, W]. ``__getitems__``, which a data loader calls for every batch, then gives
    the collated batch, to go with ``collate_fn=dict(type='rdarts.batch_collate')``. A sample's
    augmentation is a function of the seed that its index carries
    (:class:`rdarts.datasets.SeededIndex`); for a plain ``int`` a seed is drawn from NumPy's
    global generator.

    A subclass gives ``METAINFO`` and ``image_size``, and overrides :meth:`source` and
    :meth:`load_arrays`.

    Args:
        split (str): ``train`` or ``test``. Defaults to ``train``.
        pipeline (Sequence): Transforms or their configs. Defaults to ().
        limit (int, optional): Use the first that many images. Defaults to None, all.
        metainfo (dict, optional): What replaces entries of ``METAINFO``. Defaults to None.
        lazy_init (bool): Load at the first use instead of at once. Defaults to False.
        test_mode (bool): Whether to treat the set as test images. Defaults to False.

    Attributes:
        batched (bool): Whether the pipeline transforms whole batches.
        image_size (int): Height and width of the images in pixels.

    Raises:
        UserError: The split is not known, the limit is not a positive number, or the pipeline
            mixes transforms of batches and of single images.
    """

    def __init__(
        self,
        split: Annotated[str, Among(SPLITS)] = 'train',
        pipeline: Sequence[Any] = (),
        limit: Positive | None = None,
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
        self.batched = is_batch_pipeline(self.pipeline.transforms, type(self).__name__)

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

    def __getitem__(self, idx: int) -> Any:
        if not self.batched:
            return super().__getitem__(idx)
        return {key: values[0] for key, values in self.__getitems__([idx]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Any:
        if not self.batched:
            return [self[index] for index in indices]
        self.full_init()
        chosen = np.asarray(indices, dtype=np.int64)
        length = len(self)
        outside = chosen[(chosen < -length) | (chosen >= length)]
        if len(outside):
            raise IndexError(
                f'{type(self).__name__} has {length} images, but got index {outside[0]}'
            )
        chosen %= length
        images = self.arrays.images[chosen]
        batch = self.pipeline(
            dict(
                img=np.ascontiguousarray(images.transpose(0, 3, 1, 2)),
                gt_label=self.arrays.labels[chosen],
                sample_idx=chosen,
                ori_shape=images.shape[1:3],
                epoch=np.array([getattr(index, 'epoch', 0) for index in indices]),
                generator=SampleGenerator([_seed_of(index) for index in indices]),
            )
        )
        if batch is None:
            raise UserError(f'{type(self).__name__}: the pipeline returned no batch')
        return CollatedBatch(batch)

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


def _seed_of(index: int) -> int:
    if isinstance(index, SeededIndex):
        return index.seed
    return int(np.random.randint(0, 2**64, dtype=np.uint64))
