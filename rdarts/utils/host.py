"""What is computed on a device and read by Python: all of it at once, as the device is waited for.

A search step reads what it must by :func:`read`, called as ``host.read``, and by nothing else. On
the ``meta`` device any other way of reading raises an error, which is how tests find it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def read(value: Any) -> Any:
    """The same with what ``tolist`` gives in the place of each tensor, by one transfer.

    Args:
        value (Any): Tensors, in dicts and lists or alone, and anything else. They are of any
            shapes and types.

    Returns:
        Any: The same; each scalar is a number, each other tensor nested lists of numbers.
    """
    tensors = list(_tensors(value))
    if not tensors:
        return value
    device = next((one.device for one in tensors if one.device.type != 'cpu'), tensors[0].device)
    flat = torch.cat([_as_integers(one).to(device) for one in tensors]).cpu()
    parts = flat.split([one.numel() for one in tensors])
    numbers = (
        _from_integers(part, one.dtype).view(one.shape).tolist()
        for part, one in zip(parts, tensors, strict=True)
    )
    return _replaced(value, numbers)


def send(values: Sequence[Any], device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of numbers on a device, which is not waited for.

    Args:
        values (Sequence): As ``torch.tensor`` takes them.
        device (device): Where to.
        dtype (dtype, optional): Defaults to what ``torch.tensor`` makes of them.
    """
    if torch.compiler.is_compiling() or device.type != 'cuda':
        return torch.tensor(values, dtype=dtype, device=device)
    # of memory that may be paged out the copy would wait for all that the device has to do
    return torch.tensor(values, dtype=dtype, pin_memory=True).to(device, non_blocking=True)


# Of all types int64 alone holds the others on any device: Apple's have no float64, and float32
# holds whole numbers to 2^24 only.
def _as_integers(tensor: Tensor) -> Tensor:
    """The same in int64, in one row; numbers with a fraction by their bits."""
    flat = tensor.detach().flatten()
    if not flat.is_floating_point():
        return flat.long()
    if flat.dtype == torch.float64:
        return flat.view(torch.int64)
    return flat.float().view(torch.int32).long()


def _from_integers(row: Tensor, dtype: torch.dtype) -> Tensor:
    """What :func:`_as_integers` made of a tensor of this type."""
    if not dtype.is_floating_point:
        return row.to(dtype)
    if dtype == torch.float64:
        return row.view(torch.float64)
    return row.int().view(torch.float32).to(dtype)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _tensors(one)


def _replaced(value: Any, numbers: Iterator[Any]) -> Any:
    if isinstance(value, Tensor):
        return next(numbers)
    if isinstance(value, dict):
        return {key: _replaced(one, numbers) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, numbers) for one in value]
    return value
