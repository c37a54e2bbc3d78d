"""Which back end a node takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rdarts.models.kernels.backends.base import Backend
from rdarts.models.kernels.backends.cpp import CppBackend
from rdarts.models.kernels.backends.torch import TorchBackend
from rdarts.models.kernels.backends.triton import TritonBackend
from rdarts.utils.logging import tell_once

# The first that takes the images runs; the last is the reference, which takes any
BACKENDS: tuple[Backend, ...] = (CppBackend(), TorchBackend())
# They run where they are asked for alone
ASKED: tuple[Backend, ...] = (TritonBackend(),)

_chosen: dict[tuple, tuple[Backend, list[str]]] = {}
_forced: list[Backend] = []


def get_backend(name: str) -> Backend:
    """The back end of that name: ``'cpp'``, ``'torch'`` or ``'triton'``."""
    return next(backend for backend in (*BACKENDS, *ASKED) if backend.name == name)


def choose_backend(
    device: torch.device,
    dtype: torch.dtype,
    *channels: int,
    told: bool = False,
    asked: str | None = None,
) -> Backend:
    """The first back end that takes images of this kind.

    Args:
        device (torch.device): Where they are.
        dtype (torch.dtype): Their type.
        *channels (int): The numbers of channels of what is read and of what is made.
        told (bool): Whether the log says, once, why a quicker one declines. Defaults to False.
        asked (str, optional): The name of one that comes before all others. Defaults to none.
    """
    if _forced and not _forced[-1].unsupported_reasons(device, dtype, channels):
        return _forced[-1]
    order = BACKENDS if asked is None else (get_backend(asked), *BACKENDS)
    key = (device, dtype, channels, asked)
    if key not in _chosen:
        declined = []
        for backend in order:
            reasons = backend.unsupported_reasons(device, dtype, channels)
            if not reasons:
                _chosen[key] = backend, declined
                break
            declined += reasons
    backend, declined = _chosen[key]
    if told and declined:
        quicker = ' or '.join(one.title for one in order[: order.index(backend)])
        tell_once(f'fused runs in {backend.title}, not in {quicker}: {"; ".join(declined)}')
    return backend


def declined_by_native(device: torch.device, dtype: torch.dtype, *channels: int) -> list[str]:
    """Why no back end but the reference takes images of this kind; empty where one does.

    Args:
        device, dtype, *channels: See :func:`choose_backend`.
    """
    backend = choose_backend(device, dtype, *channels)
    if not backend.is_reference:
        return []
    if _forced and backend is _forced[-1]:
        return [f"use_backend asks for '{backend.name}'"]
    return _chosen[device, dtype, channels, None][1]


@contextmanager
def use_backend(backend: str | Backend) -> Iterator[Backend]:
    """Within, nodes take this back end where it takes their images; for tests and comparisons.

    Args:
        backend (str | Backend): ``'cpp'``, ``'torch'``, ``'triton'`` or one of one's own.
    """
    _forced.append(get_backend(backend) if isinstance(backend, str) else backend)
    try:
        yield _forced[-1]
    finally:
        _forced.pop()


def has_cpp() -> bool:
    """Whether the C++ back end runs on this machine."""
    return not get_backend('cpp').unsupported_reasons(torch.device('cpu'), torch.float32, ())
