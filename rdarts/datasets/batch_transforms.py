"""Augmentation of small images by the batch, for the sets that are held in memory.

A pipeline of these transforms sees a whole batch at once: see
:class:`rdarts.datasets.ArrayDataset`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import default_collate
from mmpretrain.structures import DataSample
from numpy.lib.stride_tricks import as_strided

from rdarts.configuration.declarations import Among, Count, Pixel, PixelValue, Positive, Share
from rdarts.configuration.schedule import Schedule, ScheduleSpec
from rdarts.errors import UserError, nearest
from rdarts.registry import FUNCTIONS, TRANSFORMS

FLIP_AXES = dict(horizontal=-1, vertical=-2)


class CollatedBatch(dict):
    """A batch that a data set has put together itself; :func:`batch_collate` makes it a dict."""

    def __missing__(self, key: Any) -> Any:
        # mmengine's own collate functions look at element 0 of a list of samples
        if key == 0:
            raise UserError(
                'a pipeline of batch transforms needs the collate function that expects batches: '
                "set collate_fn=dict(type='rdarts.batch_collate') in the data loader"
            )
        raise KeyError(key)


@FUNCTIONS.register_module()
def batch_collate(batch: Any) -> Any:
    """Collate for loaders of either pipeline: passes batches through, stacks lists of samples.

    Args:
        batch (CollatedBatch | Sequence): What the data set gave for the batch's indices.

    Returns:
        dict: ``inputs`` and ``data_samples``; a list goes through mmengine's ``default_collate``.
    """
    return dict(batch) if isinstance(batch, CollatedBatch) else default_collate(batch)


class BatchTransform(BaseTransform):
    """Base of the transforms of a whole batch; a subclass overrides :meth:`transform_batch`.

    What a transform draws it takes from ``batch['generator']``, a
    :class:`rdarts.datasets.SampleGenerator`: one stream for each sample, so that a sample's
    augmentation does not depend on the batch that it is in. For that, how often a transform
    draws must not depend on the images or on what was drawn.
    """

    @abstractmethod
    def transform_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Transform a batch.

        Args:
            batch (dict): ``img`` is uint8 [N, C, H, W] and may be changed in place; ``gt_label``,
                ``sample_idx`` and ``epoch`` (of the loader, from 0) are int64 [N], ``ori_shape``
                is (H, W) before any transform.

        Returns:
            dict: The batch.
        """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Check that this is a batch, and transform it.

        Raises:
            UserError: It is the sample of a set that has no batches.
        """
        if 'generator' not in results:
            raise UserError(
                f'{type(self).__name__} transforms whole batches, which only sets of images in '
                "memory give (rdarts.CIFAR10, rdarts.Digits, ...): use mmpretrain's transforms of "
                'single images here'
            )
        return self.transform_batch(results)


@TRANSFORMS.register_module()
class BatchResize(BatchTransform):
    """Scales every image, bilinearly, as mmpretrain's Resize.

    Args:
        scale (int): Side of the new images in pixels.

    Raises:
        UserError: It is no number of pixels.
    """

    def __init__(self, scale: Positive) -> None:
        if not isinstance(scale, int) or isinstance(scale, bool) or scale < 1:
            raise UserError(f'BatchResize: scale is a number of pixels from 1, but got {scale!r}')
        self.scale = scale

    def transform_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Draws nothing."""
        images, size = batch['img'], (self.scale, self.scale)
        if images.shape[2:] != size:
            resized = np.empty((*images.shape[:2], *size), np.uint8)
            for image, new in zip(images.transpose(0, 2, 3, 1), resized, strict=True):
                scaled = cv2.resize(np.ascontiguousarray(image), size)
                new[:] = scaled.reshape(*size, -1).transpose(2, 0, 1)
            batch['img'] = resized
        return batch

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale})'


@TRANSFORMS.register_module()
class BatchRandomCrop(BatchTransform):
    """Pads every image and crops it at a uniformly random offset, as mmpretrain's RandomCrop.

    Args:
        crop_size (int): Side of the crop in pixels.
        padding (int): Pixels that are added at each border first. Defaults to 0.
        pad_val (int | Sequence[int]): Their value, one or one a channel. Defaults to 0.

    Raises:
        UserError: A size is not valid, or a padded image is smaller than the crop.
    """

    def __init__(
        self, crop_size: Positive, padding: Count = 0, pad_val: Pixel | Sequence[Pixel] = 0
    ) -> None:
        for name, value, least in (('crop_size', crop_size, 1), ('padding', padding, 0)):
            if not isinstance(value, int) or value < least:
                raise UserError(
                    f'BatchRandomCrop: {name} is a number of pixels from {least}, but got {value!r}'
                )
        self.crop_size = crop_size
        self.padding = padding
        self.pad_val = pad_val
        self._fill = np.asarray(pad_val, np.uint8).reshape(-1, 1, 1)

    def transform_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Draws two numbers a sample: the offset's row and column."""
        images, size, pad = batch['img'], self.crop_size, self.padding
        n, channels, height, width = images.shape
        padded = np.empty((n, channels, height + 2 * pad, width + 2 * pad), np.uint8)
        padded[:] = self._fill
        padded[:, :, pad : pad + height, pad : pad + width] = images
        rows, columns = padded.shape[2] - size + 1, padded.shape[3] - size + 1
        if rows < 1 or columns < 1:
            raise UserError(
                f'BatchRandomCrop: images of {height} x {width} with padding {pad} are smaller '
                f'than crop_size {size}'
            )
        generator = batch['generator']
        y, x = generator.integers(rows), generator.integers(columns)
        of_image, of_channel, of_row, of_column = padded.strides
        windows = as_strided(
            padded,
            (n, rows, columns, channels, size, size),
            (of_image, of_row, of_column, of_channel, of_row, of_column),
            writeable=False,
        )
        batch['img'] = windows[np.arange(n), y, x]
        return batch

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(crop_size={self.crop_size}, padding={self.padding}, '
            f'pad_val={self.pad_val})'
        )


@TRANSFORMS.register_module()
class BatchRandomFlip(BatchTransform):
    """Flips every image with a probability, as mmpretrain's RandomFlip.

    Args:
        prob (float): The probability. Defaults to .5.
        direction (str): ``horizontal`` or ``vertical``. Defaults to ``horizontal``.

    Raises:
        UserError: The probability is outside [0, 1], or the direction is not known.
    """

    def __init__(
        self, prob: Share = 0.5, direction: Annotated[str, Among(FLIP_AXES)] = 'horizontal'
    ) -> None:
        if not isinstance(prob, (int, float)) or not 0 <= prob <= 1:
            raise UserError(f'BatchRandomFlip: prob lies in [0, 1], but got {prob!r}')
        if direction not in FLIP_AXES:
            raise UserError(
                f"BatchRandomFlip: unknown direction '{direction}': "
                f'{nearest(str(direction), FLIP_AXES)}'
            )
        self.prob = prob
        self.direction = direction

    def transform_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Draws one number a sample."""
        images = batch['img']
        flipped = batch['generator'].uniform() < self.prob
        images[flipped] = np.flip(images[flipped], FLIP_AXES[self.direction])
        return batch

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob}, direction={self.direction!r})'


@TRANSFORMS.register_module()
class BatchCutout(BatchTransform):
    """Fills a square of images, as :class:`rdarts.datasets.Cutout` (and DARTS) does.

    Args:
        shape (int): Side of the square in pixels; its centre is a uniformly random pixel, and
            it is clipped at the border.
        pad_val (Sequence[float]): What the square is filled with, one value a channel, rounded.
        prob (float | dict): The probability that an image has one, constant or a schedule over
            the epochs of its loader: see :class:`~rdarts.configuration.schedule.Schedule`.
            Defaults to 1. RobustDARTS's grows linearly from 0 to 1 where it drops paths.

    Raises:
        UserError: The side is no number of pixels, or the probability is outside [0, 1].
    """

    def __init__(
        self, shape: Positive, pad_val: Sequence[PixelValue], prob: ScheduleSpec = 1.0
    ) -> None:
        if not isinstance(shape, int) or shape < 1:
            raise UserError(f'BatchCutout: shape is a number of pixels from 1, but got {shape!r}')
        self.shape = shape
        self.pad_val = tuple(float(value) for value in pad_val)
        self._fill = np.rint(self.pad_val).astype(np.uint8).reshape(-1, 1, 1)
        self.prob = prob
        self._prob = Schedule(prob, name='prob of BatchCutout', minimum=0.0, maximum=1.0)

    def transform_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Draws two numbers a sample: the centre's row and column; before, whether, if not all."""
        images = batch['img']
        generator = batch['generator']
        chosen: Any = True
        if any(value != 1 for _, value in self._prob.points):
            probs = [self._prob.at(epoch) for epoch in batch['epoch'].tolist()]
            chosen = (generator.uniform() < np.array(probs))[:, None, None, None]
        rows, columns = (self._covered(generator, length) for length in images.shape[2:])
        square = rows[:, None, :, None] & columns[:, None, None, :]
        np.copyto(images, self._fill, where=square & chosen)
        return batch

    def _covered(self, generator: Any, length: int) -> np.ndarray:
        """Which pixels of an axis lie in the square: bool [N, length]."""
        start = generator.integers(length)[:, None] - self.shape // 2
        pixels = np.arange(length)
        return (pixels >= start) & (pixels < start + self.shape)

    def __repr__(self) -> str:
        given = f'shape={self.shape}, pad_val={self.pad_val}, prob={self.prob}'
        return f'{type(self).__name__}({given})'


@TRANSFORMS.register_module()
class BatchPackInputs(BatchTransform):
    """Packs a batch for mmpretrain's classifiers; the last transform of a batch pipeline.

    The result holds ``inputs``, uint8 [N, C, H, W], and ``data_samples``, a list of N
    ``DataSample`` with ``gt_label`` (int64 [1]) and the meta keys ``sample_idx``, ``ori_shape``
    and ``img_shape``: what mmpretrain's ``PackInputs`` and ``default_collate`` give. The data
    preprocessor normalises.
    """

    def transform_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Pack the batch."""
        images = torch.from_numpy(np.ascontiguousarray(batch['img']))
        labels = torch.from_numpy(batch['gt_label']).split(1)
        meta = dict(ori_shape=batch['ori_shape'], img_shape=tuple(images.shape[2:]))
        indices = batch['sample_idx'].tolist()
        return dict(
            inputs=images,
            data_samples=[
                _data_sample(label, dict(sample_idx=index, **meta))
                for label, index in zip(labels, indices, strict=True)
            ],
        )

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


def _data_sample(label: torch.Tensor, meta: Mapping[str, Any]) -> DataSample:
    sample = DataSample()
    # field by field: set_metainfo copies deeply and set_gt_label converts, which takes four times
    # as long
    for name, value in meta.items():
        sample.set_field(value, name, field_type='metainfo')
    sample.set_field(label, 'gt_label', dtype=torch.Tensor)
    return sample


def is_batch_pipeline(transforms: Sequence[Any], owner: str) -> bool:
    """Whether a pipeline transforms whole batches.

    Args:
        transforms (Sequence): The built transforms.
        owner (str): Names the data set in an error.

    Returns:
        bool: True if all are batch transforms; False if none is, or there are none at all.

    Raises:
        UserError: It has transforms of both kinds, or batches are not packed at its end.
    """
    kinds: dict[bool, list[str]] = {True: [], False: []}
    for transform in transforms:
        kinds[isinstance(transform, BatchTransform)].append(type(transform).__name__)
    if not kinds[True]:
        return False
    if kinds[False]:
        raise UserError(
            f'{owner}: the pipeline mixes batch transforms ({", ".join(kinds[True])}) with '
            f'transforms of single images ({", ".join(kinds[False])}): use one kind'
        )
    if not isinstance(transforms[-1], BatchPackInputs):
        raise UserError(f"{owner}: a batch pipeline ends with dict(type='rdarts.BatchPackInputs')")
    return True
