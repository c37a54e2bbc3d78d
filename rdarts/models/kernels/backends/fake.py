"""The C++ operators as PyTorch's tools see them: shapes of what they give.

With a fake (meta) kernel for each, ``torch.compile`` and ``torch.export`` trace a supernet in
fused execution. What each operator takes and gives is said where a back end calls it, in
``base.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from rdarts.models.kernels.backends import flops


def _out(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _exact(like: Tensor, *sizes: int) -> Tensor:
    """Sums and moments are in float64."""
    return like.new_empty(sizes, dtype=torch.float64)


def _nothing(like: Tensor) -> Tensor:
    return like.new_empty(0)


def separable_forward(
    x: Tensor,
    norm: Tensor | None,
    depthwise: Tensor,
    pointwise: Tensor,
    stride: int,
    padding: int,
    dilation: int,
) -> tuple[Tensor, Tensor]:
    edges, _, _, kernel, _ = depthwise.shape
    outputs = pointwise.shape[1]
    images, height, width = x.shape[-4:-1]
    size = [_out(side, kernel, stride, padding, dilation) for side in (height, width)]
    return x.new_empty(edges, images, *size, outputs), _exact(x, edges, 2, outputs)


def separable_backward(
    g: Sequence[Tensor],
    y: Tensor,
    coefficients: Tensor,
    x: Tensor,
    norm: Tensor | None,
    depthwise: Tensor,
    pointwise: Tensor,
    stride: int,
    padding: int,
    dilation: int,
    into: Tensor | None,
    accumulate: bool,
    weights: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    edges, channels = depthwise.shape[:2]
    grads = [
        torch.empty_like(weight) if weights else _nothing(x) for weight in (depthwise, pointwise)
    ]
    if into is not None:
        return _nothing(x), _nothing(x), *grads
    return torch.empty_like(x), _exact(x, edges, 2, channels), *grads


def separable_folded(
    x: Tensor,
    depthwise: Sequence[Tensor],
    pointwise: Sequence[Tensor],
    norms: Sequence[Tensor],
    eps: Sequence[float],
    convs: Sequence[int],
    out: Tensor,
    accumulate: bool,
) -> None:
    return None


def mix(
    outs: Sequence[Tensor],
    accumulate: Sequence[int],
    terms: Sequence[Tensor],
    edge_of: Sequence[int],
    scales: Tensor,
    shifts: Tensor | None,
    x: Tensor | None,
    matrices: Tensor | None,
) -> None:
    return None


def mix_sums(
    g: Sequence[Tensor], terms: Sequence[Tensor], edge_of: Sequence[int], x: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    edges, channels = len(g), g[0].shape[-1]
    matrices = _nothing(g[0]) if x is None else _exact(x, edges, channels, channels)
    return _exact(g[0], len(edge_of), channels), _exact(g[0], edges, channels), matrices


def covariance(x: Tensor, active: bool) -> tuple[Tensor, Tensor]:
    channels = x.shape[-1]
    return _exact(x, channels), _exact(x, channels, channels)


def input_grad(
    x: Tensor,
    g: Sequence[Tensor],
    skips: Tensor | None,
    dr: Tensor | None,
    left: Tensor | None,
    right: Tensor | None,
    row: Tensor | None,
    dx: Tensor,
) -> None:
    return None


def _blocks(x: Tensor, edges: int, channels: int, *sizes: int) -> Tensor:
    """[E, blocks, N, h, w, numbers of a block]: channels in blocks of 64 bytes."""
    block = 64 // x.element_size()
    return x.new_empty(edges, -(-channels // block), *sizes, block)


def expand_forward(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    edges, inner = weight.shape[:2]
    return _blocks(x, edges, inner, *x.shape[:3]), _exact(x, edges, 2, inner)


def depthwise_forward(
    x: Tensor,
    expand: Tensor,
    wide: Tensor | None,
    norm: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
) -> tuple[Tensor, Tensor]:
    edges, inner = weight.shape[:2]
    size = [_out(side, weight.shape[-1], stride, padding) for side in x.shape[1:3]]
    return _blocks(x, edges, inner, len(x), *size), _exact(x, edges, 2, inner)


def project_forward(x: Tensor, norm: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    edges, outputs = weight.shape[:2]
    return x.new_empty(edges, *x.shape[2:5], outputs), _exact(x, edges, 2, outputs)


def project_backward(
    g: Sequence[Tensor],
    y: Tensor,
    coefficients: Tensor,
    x: Tensor,
    norm: Tensor,
    weight: Tensor,
    weights: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    edges, _, inner = weight.shape
    dw = x.new_empty(weight.shape) if weights else x.new_empty(edges, 0)
    return torch.empty_like(x), _exact(x, edges, 2, inner), dw


def depthwise_backward(
    g: Tensor,
    y: Tensor,
    coefficients: Tensor,
    x: Tensor,
    expand: Tensor,
    wide: Tensor | None,
    norm: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    into: Tensor,
    weights: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    edges, inner = weight.shape[:2]
    shapes = (weight.shape, expand.shape) if weights else [(edges, 0)] * 2
    return _exact(x, edges, 2, inner), *(x.new_empty(shape) for shape in shapes)


def conv3x3_forward(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    edges, outputs = weight.shape[:2]
    return x.new_empty(edges, *x.shape[:3], outputs), _exact(x, edges, 2, outputs)


def conv3x3_backward(
    g: Sequence[Tensor],
    y: Tensor,
    coefficients: Tensor,
    x: Tensor,
    weight: Tensor,
    into: Tensor,
    accumulate: bool,
    weights: bool,
) -> Tensor:
    return torch.empty_like(weight) if weights else _nothing(x)


def moments(y: Tensor) -> Tensor:
    return _exact(y, 2, y.shape[-1])


def pointwise_forward(
    x: Sequence[Tensor], weights: Sequence[Tensor], stride: int
) -> tuple[Tensor, Tensor]:
    images, height, width, _ = x[0].shape
    outputs = sum(weight.shape[0] for weight in weights)
    size = [_out(side, 1, stride, 0) for side in (height, width)]
    return x[0].new_empty(images, *size, outputs), _exact(x[0], 2, outputs)


def pointwise_backward(
    g: Tensor,
    y: Tensor,
    coefficients: Tensor,
    x: Sequence[Tensor],
    weights: Sequence[Tensor],
    stride: int,
    want_images: bool,
    want_weights: bool,
) -> tuple[list[Tensor], list[Tensor]]:
    images = [one.new_empty(one.shape) for one in x] if want_images else []
    return images, [torch.empty_like(weight) for weight in weights] if want_weights else []


def pointwise_folded(
    x: Sequence[Tensor],
    weights: Sequence[Tensor],
    norm: Sequence[Tensor],
    eps: float,
    stride: int,
    real: int,
    outputs: int,
) -> Tensor:
    images, height, width, _ = x[0].shape
    size = [_out(side, 1, stride, 0) for side in (height, width)]
    return x[0].new_empty(images, *size, outputs)


def pool_forward(x: Tensor, maximum: bool, stride: int) -> tuple[Tensor, Tensor]:
    images, height, width, channels = x.shape
    size = [_out(side, 3, stride, 1) for side in (height, width)]
    return x.new_empty(images, *size, channels), _exact(x, 2, channels)


def pool_backward(dy: Tensor, x: Tensor, y: Tensor, maximum: bool, stride: int, dx: Tensor) -> None:
    return None


def standard_normal(out: Tensor, seed: int) -> None:
    return None


def empty_images(sizes: Sequence[int], like: Tensor) -> Tensor:
    _, channels, height, width = sizes
    strides = (height * width * channels, 1, width * channels, channels)
    return like.new_empty_strided(sizes, strides)


def batch_norm(
    moments: Tensor,
    count: int,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
    batch: bool,
    chosen: Sequence[int],
) -> Tensor:
    return _exact(moments, 4, len(chosen), moments.shape[-1])


def batch_norm_backward(
    norm: Tensor,
    batch: bool,
    by_edge: Tensor | None,
    count: int,
    total: Tensor,
    product: Tensor,
    beta: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _, edges, channels = norm.shape
    grad = _nothing(norm) if beta is None else _exact(norm, edges)
    return (
        _exact(norm, 3, edges, channels),
        *(_exact(norm, edges, channels) for _ in range(2)),
        grad,
    )


def mixture(
    moments: Sequence[Tensor],
    running: Sequence[Tensor],
    affine: Sequence[Tensor],
    chosen: Sequence[int],
    forms: Sequence[int],
    numbers: Sequence[float],
    count: int,
    betas: Tensor,
    places: Tensor,
    edges: Tensor,
    num_edges: int,
    channels: int,
    like: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = edges.shape[0]
    scale, shift = like.new_empty(rows, channels), like.new_empty(num_edges, channels)
    return _exact(like, 4, rows, channels), _exact(like, rows), scale, shift


def mixture_backward(
    norm: Tensor,
    batch: bool,
    by_edge: Tensor | None,
    count: int,
    totals: Tensor,
    product: Tensor,
    beta: Tensor,
    edges: Tensor,
    places: Tensor,
    betas: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _, rows, channels = norm.shape
    affine = (_exact(norm, rows, channels) for _ in range(2))
    return _exact(norm, 3, rows, channels), *affine, betas.new_empty(betas.shape)


def shared_gradient(g: Sequence[Tensor], y: Tensor, coefficients: Tensor) -> Tensor:
    return y.new_empty(y.shape)


KERNELS = (
    *(separable_forward, separable_backward, mix, mix_sums, covariance, input_grad),
    *(expand_forward, depthwise_forward, project_forward, project_backward, depthwise_backward),
    *(conv3x3_forward, conv3x3_backward, moments, pointwise_forward, pointwise_backward),
    *(pool_forward, pool_backward, standard_normal, empty_images, batch_norm),
    *(batch_norm_backward, mixture, mixture_backward, shared_gradient),
    *(separable_folded, pointwise_folded),
)


@functools.cache
def register() -> None:
    """Tell PyTorch, once the operators are there."""
    for kernel in KERNELS:
        torch.library.register_fake(f'rdarts::{kernel.__name__}', kernel)
    flops.register()
