"""Encoded images into arrays."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from rdarts.errors import UserError

_JPEG_START, _JPEG_END = b'\xff\xd8', b'\xff\xd9'


def decode_image(data: bytes | None, size: int, where: str) -> np.ndarray:
    """Decode one JPEG or PNG of a known size.

    Args:
        data (bytes | None): The encoded file.
        size (int): Height and width that it must have, in pixels.
        where (str): Names the image in an error, such as ``train.parquet, row 3``.

    Returns:
        np.ndarray: uint8 RGB of shape [size, size, 3], a view.

    Raises:
        UserError: The image cannot be read, is cut off, or has another size.
    """
    image = _decode(data)
    if image is None:
        raise UserError(f'{where}: unreadable image')
    if image.shape != (size, size, 3):
        height, width = image.shape[:2]
        raise UserError(
            f'{where}: the image has {width} x {height} pixels where {size} x {size} are expected'
        )
    return image[..., ::-1]


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read an image file as a retraining reads it (mmpretrain's ``LoadImageFromFile``).

    Grey and palette images become colour, 16 bits a channel become 8, transparency is ignored, and
    the EXIF orientation is applied.

    Args:
        path (str | PathLike): The file.

    Returns:
        np.ndarray: uint8 RGB [H, W, 3].

    Raises:
        UserError: It cannot be read, is no image, or is cut off.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f'{path}: unreadable image ({error.strerror})') from None
    image = _decode(data)
    if image is None:
        raise UserError(f'{path}: unreadable image')
    return np.ascontiguousarray(image[..., ::-1])


def _decode(data: bytes | None) -> np.ndarray | None:
    """uint8 BGR [H, W, 3]; None for what is no image or cut off."""
    # Some versions of OpenCV fill what is missing of a JPEG with grey.
    complete = data and (not data.startswith(_JPEG_START) or data.rfind(_JPEG_END) >= 0)
    if not complete:
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
