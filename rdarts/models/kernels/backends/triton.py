"""Some of the kernels in Triton, on GPUs; the others are PyTorch's.

What it has: the mixture with its batch norms, the sums that its backward needs, and pooling with
its moments. No node takes it by itself: ``execution='fused_triton'`` asks for it, which a search
of ``execution='auto'`` sets where it was the quickest on the user's own device.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from rdarts.models.kernels.backends.torch import TorchBackend, add_products, cross_products
from rdarts.models.kernels.layout import each_image

OLDEST = (3, 4)  # kernels take tuples of images from here on
CAPABILITY = (7, 0)
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TILE = 2048  # numbers of an image that a program takes
POOL_TILE = 512  # the same of pooling, which has nine addresses for each


@functools.cache
def _why_absent() -> str | None:
    """Why Triton cannot be used; None where it can."""
    try:
        version = importlib.metadata.version('triton')
    except importlib.metadata.PackageNotFoundError:
        return 'Triton is not installed'
    if tuple(map(int, version.split('.')[:2])) < OLDEST:
        return f'Triton {version} is older than {".".join(map(str, OLDEST))}'
    return None


def is_interpreted() -> bool:
    """Whether Triton runs its kernels without a GPU, for tests (``TRITON_INTERPRET=1``)."""
    return os.environ.get('TRITON_INTERPRET') == '1'


def _on(image: Tensor) -> AbstractContextManager:
    """Within, kernels run on the image's device."""
    return torch.cuda.device(image.device) if image.is_cuda else nullcontext()


def _tile(image: Tensor, numbers: int) -> dict[str, Any]:
    """How programs share an image [N, H, W, C], by so many numbers each: the last arguments."""
    from rdarts.models.kernels.backends.triton_kernels import tl

    lanes = 1 << max(0, image.shape[-1] - 1).bit_length()
    wide = tl.float64 if image.dtype == torch.float64 else tl.float32
    return dict(WIDE=wide, BLOCK=max(1, numbers // lanes), LANES=lanes)


def _programs(image: Tensor, tile: dict[str, Any]) -> int:
    return -(-image[..., 0].numel() // tile['BLOCK'])


def _step(image: Tensor) -> int | None:
    """How far two pixels are apart in memory; None where that is not the same for all."""
    _, height, width, channels = image.shape
    step = image.stride(2)
    wanted = (height * width * step, width * step, step, 1)
    return step if image.stride() == wanted and step >= channels else None


class TritonBackend(TorchBackend):
    """PyTorch's functions, and kernels in Triton where they save passes over memory."""

    name, title = 'triton', 'Triton'
    is_reference = False

    def unsupported_reasons(
        self, device: torch.device, dtype: torch.dtype, channels: Sequence[int]
    ) -> list[str]:
        absent = _why_absent()
        if absent is not None:
            return [absent]
        reasons = []
        if device.type != 'cuda' and not is_interpreted():
            reasons.append(f'images are on {device.type}, and it runs on GPUs')
        elif device.type == 'cuda' and torch.cuda.get_device_capability(device) < CAPABILITY:
            reasons.append(f'the compute capability of {device} is below 7.0')
        if dtype not in DTYPES:
            reasons.append(f'it has no {str(dtype).removeprefix("torch.")}')
        return reasons

    def mix(
        self,
        outs: Sequence[Tensor],
        accumulate: Sequence[bool],
        terms: Sequence[Tensor],
        edge_of: Sequence[int],
        scales: Tensor,
        shifts: Tensor | None = None,
        x: Tensor | None = None,
        matrices: Tensor | None = None,
    ) -> None:
        terms = each_image(terms)
        own = [[t for t, edge in enumerate(edge_of) if edge == j] for j in range(len(outs))]
        if not all(own) or None in map(_step, (*outs, *terms)):
            super().mix(outs, accumulate, terms, edge_of, scales, shifts, x, matrices)
            return
        from rdarts.models.kernels.backends import triton_kernels

        tile, scales = _tile(outs[0], TILE), scales.contiguous()
        with _on(outs[0]):
            for j, (out, rows) in enumerate(zip(outs, own, strict=True)):
                triton_kernels.mix[(_programs(out, tile),)](
                    out,
                    tuple(terms[t] for t in rows),
                    tuple(scales[t] for t in rows),
                    scales if shifts is None else shifts[j],
                    tuple(_step(terms[t]) for t in rows),
                    _step(out),
                    out[..., 0].numel(),
                    out.shape[-1],
                    ACCUMULATE=accumulate[j],
                    SHIFT=shifts is not None,
                    **tile,
                )
        if matrices is not None:
            add_products(outs, x, matrices)

    def mix_sums(
        self, g: Sequence[Tensor], terms: Sequence[Tensor], edge_of: Sequence[int], x: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        terms = each_image(terms)
        own = [[t for t, edge in enumerate(edge_of) if edge == j] for j in range(len(g))]
        if not all(own) or None in map(_step, (*g, *terms)):
            return super().mix_sums(g, terms, edge_of, x)
        from rdarts.models.kernels.backends import triton_kernels

        tile = _tile(g[0], TILE)
        programs, channels = _programs(g[0], tile), g[0].shape[-1]
        count = len(terms) + len(g)
        found = g[0].new_empty((programs, count, channels), dtype=torch.float64)
        places, start = [0] * count, 0
        with _on(g[0]):
            for j, (one, rows) in enumerate(zip(g, own, strict=True)):
                # where its rows begin is no number: Triton compiles anew for some, such as 1
                triton_kernels.sums[(programs,)](
                    found[:, start:],
                    one,
                    tuple(terms[t] for t in rows),
                    tuple(_step(terms[t]) for t in rows),
                    _step(one),
                    count,
                    one[..., 0].numel(),
                    channels,
                    **tile,
                )
                for place, row in enumerate([*rows, len(terms) + j], start):
                    places[row] = place
                start += len(rows) + 1
        sums = found.sum(0)
        if places != list(range(count)):
            sums = torch.stack([sums[place] for place in places])
        products, totals = sums.split([len(terms), len(g)])
        return products, totals, None if x is None else cross_products(g, x)

    def pool_forward(self, x: Tensor, maximum: bool, stride: int) -> tuple[Tensor, Tensor]:
        size = [-(-side // stride) for side in x.shape[1:3]]
        y = x.new_empty(len(x), *size, x.shape[-1])
        tile = _tile(y, POOL_TILE)
        found = y.new_empty((_programs(y, tile), 3, y.shape[-1]), dtype=torch.float64)
        self._pool(y, x.contiguous(), found, y, stride, maximum, False, tile)
        number, mean, apart = found.unbind(1)
        whole = number.sum(0)
        total = (number * mean).sum(0) / whole
        return y, torch.stack([total, (apart + number * (mean - total) ** 2).sum(0) / whole])

    def pool_backward(
        self, dy: Tensor, x: Tensor, y: Tensor, maximum: bool, stride: int, dx: Tensor
    ) -> None:
        from rdarts.models.kernels.backends import triton_kernels

        if not dx.is_contiguous():
            super().pool_backward(dy, x, y, maximum, stride, dx)
            return
        tile, index = _tile(dx, POOL_TILE), dy
        if maximum:
            index = torch.empty(y.shape, dtype=torch.int8, device=y.device)
            self._pool(y, x.contiguous(), y, index, stride, True, True, tile)
        with _on(dx):
            triton_kernels.pool_backward[(_programs(dx, tile),)](
                dx,
                dy.contiguous(),
                index,
                *dx.shape[1:3],
                *y.shape[1:3],
                dx[..., 0].numel(),
                dx.shape[-1],
                STRIDE=stride,
                MAXIMUM=maximum,
                **tile,
            )

    def _pool(
        self,
        y: Tensor,
        x: Tensor,
        found: Tensor,
        index: Tensor,
        stride: int,
        maximum: bool,
        wants_index: bool,
        tile: dict[str, Any],
    ) -> None:
        from rdarts.models.kernels.backends import triton_kernels

        with _on(x):
            triton_kernels.pool[(_programs(y, tile),)](
                y,
                x,
                found,
                index,
                *x.shape[1:3],
                *y.shape[1:3],
                y[..., 0].numel(),
                y.shape[-1],
                STRIDE=stride,
                MAXIMUM=maximum,
                INDEX=wants_index,
                **tile,
            )
