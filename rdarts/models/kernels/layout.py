"""The memory layout of the kernels: [N, H, W, C], which is PyTorch's channels_last."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


def to_nhwc(image: Tensor) -> Tensor:
    """[N, C, H, W] as [N, H, W, C], contiguous: a view where memory is in channels_last."""
    image = image.permute(0, 2, 3, 1)
    _, height, width, channels = image.shape
    strides = (height * width * channels, width * channels, channels, 1)
    if image.stride() == strides:
        return image
    # PyTorch does not look at the strides of sizes of 1, but C++ goes by them
    return image.contiguous().as_strided(image.shape, strides)


def each_image(images: Iterable[Tensor]) -> list[Tensor]:
    """The images of tensors [N, H, W, C], or [E, N, H, W, C] of E images, one after another."""
    return [image for one in images for image in ((one,) if one.dim() == 4 else one.unbind(0))]


def to_nchw(image: Tensor) -> Tensor:
    """[N, H, W, C] as [N, C, H, W], a view."""
    return image.permute(0, 3, 1, 2)
