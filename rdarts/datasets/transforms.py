"""Transforms that mmpretrain lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from rdarts.configuration.declarations import PixelValue, Positive
from rdarts.errors import UserError
from rdarts.registry import TRANSFORMS


@TRANSFORMS.register_module()
class Cutout(BaseTransform):
    """Cutout as DARTS has it (https://arxiv.org/abs/1708.04552).

    A square whose centre is a uniformly random pixel, clipped at the border, so near a border
    less is cut. mmpretrain's transform of that name moves the square inside instead, at the
    upper and left border.

    Args:
        shape (int): Side of the square in pixels.
        pad_val (Sequence[float]): What the square is filled with, one value a channel, rounded;
            the set's mean, since DARTS fills with 0 after the normalisation.
    """

    def __init__(self, shape: Positive, pad_val: Sequence[PixelValue]) -> None:
        if not isinstance(shape, int) or shape < 1:
            raise UserError(f'Cutout: shape is a number of pixels from 1, but got {shape!r}')
        self.shape = shape
        self.pad_val = tuple(float(value) for value in pad_val)
        self._fill = np.rint(self.pad_val)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Fill the square.

        Args:
            results (dict): ``img`` is an array [H, W, C].

        Returns:
            dict: ``img`` is a new array.
        """
        image = results['img'].copy()
        height, width = image.shape[:2]
        y, x = np.random.randint(height), np.random.randint(width)
        half = self.shape // 2
        image[
            max(y - half, 0) : y - half + self.shape,
            max(x - half, 0) : x - half + self.shape,
        ] = self._fill
        results['img'] = image
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(shape={self.shape}, pad_val={self.pad_val})'
