"""The C++ operators as PyTorch's tools see them: shapes of what they give.

With a fake (meta) kernel for each, ``torch.compile`` and ``torch.export`` trace a supernet in
fused execution. What each operator takes and gives is said where a back end calls it, in
``base.py``.
"""

from __future__ import annotations

import functools

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


def separable_forward(x, scale, shift, depthwise, pointwise, stride, padding, dilation):
    edges, _, _, kernel, _ = depthwise.shape
    outputs = pointwise.shape[1]
    images, height, width = x.shape[-4:-1]
    size = [_out(side, kernel, stride, padding, dilation) for side in (height, width)]
    return x.new_empty(edges, images, *size, outputs), _exact(x, edges, 2, outputs)


def separable_backward(
    g,
    y,
    coefficients,
    x,
    scale,
    shift,
    depthwise,
    pointwise,
    stride,
    padding,
    dilation,
    into,
    accumulate,
    weights,
):
    edges, channels = depthwise.shape[:2]
    grads = [
        torch.empty_like(weight) if weights else _nothing(x) for weight in (depthwise, pointwise)
    ]
    if into is not None:
        return _nothing(x), _nothing(x), *grads
    return torch.empty_like(x), _exact(x, edges, 2, channels), *grads


def mix(outs, accumulate, terms, edge_of, scales, shifts, x, matrices):
    return None


def mix_sums(g, terms, edge_of, x):
    edges, channels = len(g), g[0].shape[-1]
    matrices = _nothing(g[0]) if x is None else _exact(x, edges, channels, channels)
    return _exact(g[0], len(terms), channels), _exact(g[0], edges, channels), matrices


def relu_covariance(x):
    channels = x.shape[-1]
    return _exact(x, channels), _exact(x, channels, channels)


def input_grad(x, g, skips, dr, left, right, row, dx):
    return None


def relu6_forward(x, scale, shift):
    return torch.empty_like(x)


def relu6_backward(d, x, scale, shift):
    return _exact(x, 2, x.shape[-1])


def depthwise_forward(x, scale, shift, weight, stride, padding):
    images, height, width, channels = x.shape
    size = [_out(side, weight.shape[-1], stride, padding) for side in (height, width)]
    return x.new_empty(images, *size, channels), _exact(x, 2, channels)


def depthwise_backward(g, y, coefficients, x, scale, shift, weight, stride, padding, weights):
    dw = torch.empty_like(weight) if weights else _nothing(x)
    return torch.empty_like(x), _exact(x, 2, x.shape[-1]), dw


def conv3x3_forward(x, weight):
    edges, outputs = weight.shape[:2]
    return x.new_empty(edges, *x.shape[:3], outputs), _exact(x, edges, 2, outputs)


def conv3x3_backward(g, y, coefficients, x, weight, into, accumulate, weights):
    return torch.empty_like(weight) if weights else _nothing(x)


def moments(y):
    return _exact(y, 2, y.shape[-1])


def pointwise_forward(x, weights, stride):
    images, height, width, _ = x[0].shape
    outputs = sum(weight.shape[0] for weight in weights)
    size = [_out(side, 1, stride, 0) for side in (height, width)]
    return x[0].new_empty(images, *size, outputs), _exact(x[0], 2, outputs)


def pointwise_backward(g, y, coefficients, x, weights, stride, want_images, want_weights):
    images = [one.new_empty(one.shape) for one in x] if want_images else []
    return images, [torch.empty_like(weight) for weight in weights] if want_weights else []


def pool_forward(x, maximum, stride):
    images, height, width, channels = x.shape
    size = [_out(side, 3, stride, 1) for side in (height, width)]
    return x.new_empty(images, *size, channels), _exact(x, 2, channels)


def pool_backward(dy, x, y, maximum, stride, dx):
    return None


def standard_normal(out, seed, piece):
    return None


def empty_images(sizes, like):
    _, channels, height, width = sizes
    strides = (height * width * channels, 1, width * channels, channels)
    return like.new_empty_strided(sizes, strides)


def batch_norm(
    moments, count, running_mean, running_var, weight, bias, momentum, eps, batch, chosen
):
    return _exact(moments, 4, len(chosen), moments.shape[-1])


KERNELS = (
    *(separable_forward, separable_backward, mix, mix_sums, relu_covariance, input_grad),
    *(relu6_forward, relu6_backward, depthwise_forward, depthwise_backward, conv3x3_forward),
    *(conv3x3_backward, moments, pointwise_forward, pointwise_backward, pool_forward),
    *(pool_backward, standard_normal, empty_images, batch_norm),
)


@functools.cache
def register() -> None:
    """Tell PyTorch, once the operators are there."""
    for kernel in KERNELS:
        torch.library.register_fake(f'rdarts::{kernel.__name__}', kernel)
    flops.register()
