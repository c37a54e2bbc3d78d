"""The type that images are computed in, and PyTorch's autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def compute_dtype(x: Tensor) -> torch.dtype:
    """The type that x is computed in: autocast's, but float32 on a CPU that lacks bfloat16."""
    device = x.device.type
    if not _in_autocast(device):
        return x.dtype
    dtype = torch.get_autocast_dtype(device)
    if device == 'cpu' and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32
    return dtype


def no_autocast(device: str) -> AbstractContextManager:
    """A context without autocast; nothing where there is none, as to make one takes time."""
    if _in_autocast(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _in_autocast(device: str) -> bool:
    # PyTorch refuses the question for a device that knows no autocast
    return device != 'meta' and torch.is_autocast_enabled(device)


def autocast_of(x: Tensor) -> AbstractContextManager:
    """A context in which PyTorch's functions of x and of float32 parameters are in x's type.

    A backward pass runs outside the autocast of its forward pass.
    """
    if x.is_meta:
        return nullcontext()
    half = x.dtype in (torch.float16, torch.bfloat16)
    return torch.autocast(x.device.type, x.dtype if half else None, enabled=half)


def needs_float32(x: Tensor, dilation: int | tuple[int, int], groups: int) -> bool:
    """Whether a convolution of x that is due in bfloat16 must be in float32 to be right.

    oneDNN (3.12 of PyTorch 2.14: ``jit_bf16:avx512_core_bf16``) reads memory that nothing has
    written for the gradient of the weight of a grouped convolution in bfloat16 with a dilation, of
    stride 1 and more than 28 pixels wide, in channels_last: any number, NaN among them. Narrower
    ones are right there, but how wide is right is a detail of that kernel, and float32 is faster.
    """
    if groups == 1 or dilation in (1, (1, 1)) or x.device.type != 'cpu' or x.is_contiguous():
        return False
    if x.dtype == torch.float32 and torch.is_autocast_enabled('cpu'):
        return torch.get_autocast_dtype('cpu') == torch.bfloat16
    return x.dtype == torch.bfloat16


def wide_type(dtype: torch.dtype) -> torch.dtype:
    """The type of scales and shifts of images of a type."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
