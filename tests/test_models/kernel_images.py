"""Images for the tests of kernels, and C++ compared to PyTorch on them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rdarts.models.kernels.backends import Conv, get_backend


class Called(TorchDispatchMode):
    """Within, the names of the C++ operators that run are noted."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == 'rdarts':
            self.names.add(function._opname)
        return function(*args, **(kwargs or {}))


def tensors(result) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [] if result is None else [t for part in result for t in tensors(part)]


def assert_close(found, expected, tolerance: float = 1e-12) -> None:
    """Each tensor within a relative L2 distance; NaN and infinity at the same places."""
    found, expected = tensors(found), tensors(expected)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        finite = other.isfinite()
        assert torch.equal(one.isfinite(), finite)
        assert torch.equal(one[~finite].nan_to_num(0), other[~finite].nan_to_num(0))
        one, other = one[finite].double(), other[finite].double()
        assert (one - other).norm() <= tolerance * other.norm().clamp_min(1e-3)


def assert_twins(operator: str, call, *args, tolerance: float = 1e-12) -> None:
    """A kernel, or ``call(backend, *args)``, gives the same in C++ and in PyTorch."""
    results = []
    for name in ('cpp', 'torch'):
        backend = get_backend(name)
        with Called() as called:
            given = (getattr(backend, call),) if isinstance(call, str) else (call, backend)
            results.append(given[0](*given[1:], *args))
        assert operator in called.names if name == 'cpp' else not called.names
    assert_close(*results, tolerance)


def images(*sizes: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, generator=generator, dtype=torch.float64).to(dtype)


def slice_of_channels(*sizes: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    """[..., C] whose pixels are 3 C elements apart: a part of a concatenation."""
    wide = images(*sizes[:-1], 3 * sizes[-1], seed=seed, dtype=dtype)
    return wide[..., sizes[-1] : 2 * sizes[-1]]


def strewn(tensor: Tensor) -> Tensor:
    """The same numbers, no two of them beside each other in memory."""
    return torch.stack([tensor, tensor + 1], -1)[..., 0]


def out_size(size: int, kernel: int, conv: Conv) -> int:
    stride, padding, dilation = conv
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def norm_of(scale: Tensor, shift: Tensor) -> Tensor:
    """A batch norm of this scale and shift [E, C], as ``batch_norm`` gives one."""
    return torch.stack([torch.zeros_like(scale), torch.ones_like(scale), scale, shift]).double()
