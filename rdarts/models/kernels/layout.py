"""The memory layout of the kernels: [N, H, W, C], which is PyTorch's channels_last."""

from __future__ import annotations

import torch
from torch import Tensor


def to_nhwc(image: Tensor) -> Tensor:
    """[N, C, H, W] as [N, H, W, C], contiguous: a view where memory is in channels_last."""
    image = image.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).contiguous()
    _, height, width, channels = image.shape
    strides = (height * width * channels, width * channels, channels, 1)
    # PyTorch does not look at the strides of sizes of 1, but C++ goes by them
    return image if image.stride() == strides else image.as_strided(image.shape, strides)


def to_nchw(image: Tensor) -> Tensor:
    """[N, H, W, C] as [N, C, H, W], a view."""
    return image.permute(0, 3, 1, 2)
