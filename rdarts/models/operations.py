"""Candidate operations, by their usual names.

An entry of ``OPERATIONS`` is either

- a builder ``f(make, in_channels, out_channels, stride) -> nn.Module`` that describes the
  operation by the layers that ``make`` makes: ``PlainLayers`` gives an ordinary module (derived
  networks), ``StackedLayers`` the same operation for many edges at once (supernets), both of
  :mod:`rdarts.models.layers`; or
- any ``nn.Module`` class with the arguments ``(in_channels, out_channels, stride)``, of which
  a supernet then holds one copy an edge.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.errors import UserError
from rdarts.models.kernels import standard_normal, to_nchw
from rdarts.models.layers import EdgeFunction, PlainLayers
from rdarts.registry import OPERATIONS, lookup


def identity(x: Tensor) -> Tensor:
    """The skip connection that keeps the shape."""
    return x


def zero(x: Tensor, channels: int, stride: int) -> Tensor:
    """Zeros of the shape that an operation of this stride would give."""
    size = [math.ceil(s / stride) for s in x.shape[2:]]
    return x.new_zeros(x.shape[0], channels, *size)


def noise(x: Tensor, channels: int, stride: int) -> Tensor:
    """N(0, 1) of the shape that an operation of this stride would give, whatever ``x``.

    It is drawn pixel by pixel, all channels of one before the next, in either memory format.
    """
    size = [math.ceil(s / stride) for s in x.shape[2:]]
    out = torch.empty(x.shape[0], *size, channels, dtype=x.dtype, device=x.device)
    image = to_nchw(standard_normal(out))
    return image.contiguous() if x.is_contiguous() else image


@dataclass(frozen=True)
class Pool3x3:
    """3x3 pooling with padding 1: the maximum, or the average without the padding."""

    maximum: bool
    stride: int

    def __call__(self, x: Tensor) -> Tensor:
        if self.maximum:
            return F.max_pool2d(x, 3, self.stride, padding=1)
        return F.avg_pool2d(x, 3, self.stride, padding=1, count_include_pad=False)


def build_operation(
    name: str,
    make: PlainLayers,
    in_channels: int,
    out_channels: int,
    stride: int = 1,
    **kwargs: Any,
) -> nn.Module:
    """Build a candidate operation.

    Args:
        name (str): Its name in ``OPERATIONS``.
        make (PlainLayers): Makes the layers, for one edge or for many.
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): 1, or 2 for half the resolution. Defaults to 1.
        **kwargs: Further arguments of the operation.

    Raises:
        UserError: No operation has that name.
    """
    entry = lookup(name, OPERATIONS)
    if inspect.isclass(entry) and issubclass(entry, nn.Module):
        return make.copies(entry, in_channels, out_channels, stride, **kwargs)
    return entry(make, in_channels, out_channels, stride, **kwargs)


def check_operations(names: Iterable[str], where: str) -> None:
    """Names of candidates are those of operations, be they of the space that is searched or not.

    Args:
        names (Iterable[str]): The names.
        where (str): Where they stand, for the line.

    Raises:
        UserError: No operation has one of them.
    """
    for name in names:
        try:
            lookup(name, OPERATIONS)
        except UserError as error:
            raise UserError(f'{where}: {error}') from None


def relu_conv_bn(
    make: PlainLayers,
    in_channels: int,
    out_channels: int,
    stride: int = 1,
    kernel_size: int = 1,
) -> nn.Module:
    """ReLU, convolution, batch norm."""
    conv = make.conv(
        in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2
    )
    return make.sequence(make.relu(), conv, make.norm(out_channels))


def _separable(
    make: PlainLayers, in_channels: int, out_channels: int, stride: int, kernel: int, dilation: int
) -> list[nn.Module]:
    """ReLU, depthwise and pointwise convolution, batch norm."""
    depthwise = make.conv(
        in_channels,
        in_channels,
        kernel,
        stride=stride,
        padding=dilation * (kernel - 1) // 2,
        dilation=dilation,
        groups=in_channels,
    )
    pointwise = make.conv(in_channels, out_channels, 1)
    return [make.relu(), depthwise, pointwise, make.norm(out_channels)]


@OPERATIONS.register_module(name='none')
def none(make: PlainLayers, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Zero: the edge is not there."""
    return make.function(partial(zero, channels=out_channels, stride=stride), 'none')


@OPERATIONS.register_module(name='noise')
def noise_op(make: PlainLayers, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Noise N(0, 1), whatever the input (S4 of RobustDARTS); seeded by torch's generator."""
    return make.function(partial(noise, channels=out_channels, stride=stride), 'noise')


# of DARTS-, beside an edge's candidates, which may have a skip connection of their own
@OPERATIONS.register_module(name='auxiliary_skip')
@OPERATIONS.register_module(name='skip_connect')
def skip_connect(make: PlainLayers, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Identity; where the shape changes, a 1x1 convolution or a factorised reduction."""
    if stride == 1:
        if in_channels == out_channels:
            return make.function(identity, 'identity')
        return relu_conv_bn(make, in_channels, out_channels)
    return make.factorized_reduce(in_channels, out_channels)


def _pool(
    make: PlainLayers,
    in_channels: int,
    out_channels: int,
    function: EdgeFunction,
    name: str,
    norm: bool,
) -> nn.Module:
    """A pooling, after a 1x1 convolution where channels change, and a batch norm if asked for."""
    layers = [make.function(function, name)]
    if in_channels != out_channels:
        layers.insert(0, relu_conv_bn(make, in_channels, out_channels))
    if norm:
        layers.append(make.norm(out_channels))
    return layers[0] if len(layers) == 1 else make.sequence(*layers)


@OPERATIONS.register_module(name='max_pool_3x3')
def max_pool_3x3(
    make: PlainLayers, in_channels: int, out_channels: int, stride: int, norm: bool = True
) -> nn.Module:
    """3x3 max pooling, then (``norm``, as in the search cell of DARTS) batch norm."""
    pool = Pool3x3(maximum=True, stride=stride)
    return _pool(make, in_channels, out_channels, pool, 'max_pool_3x3', norm)


@OPERATIONS.register_module(name='avg_pool_3x3')
def avg_pool_3x3(
    make: PlainLayers, in_channels: int, out_channels: int, stride: int, norm: bool = True
) -> nn.Module:
    """3x3 average pooling that does not count the padding, then (``norm``) batch norm."""
    pool = Pool3x3(maximum=False, stride=stride)
    return _pool(make, in_channels, out_channels, pool, 'avg_pool_3x3', norm)


@OPERATIONS.register_module(name='nor_conv_1x1')
def nor_conv_1x1(make: PlainLayers, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """ReLU, 1x1 convolution, batch norm."""
    return relu_conv_bn(make, in_channels, out_channels, stride, 1)


@OPERATIONS.register_module(name='nor_conv_3x3')
def nor_conv_3x3(make: PlainLayers, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """ReLU, 3x3 convolution, batch norm."""
    return relu_conv_bn(make, in_channels, out_channels, stride, 3)


def _register_separable(kernel: int) -> None:
    @OPERATIONS.register_module(name=f'sep_conv_{kernel}x{kernel}')
    def sep_conv(make: PlainLayers, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        """Depthwise and pointwise convolution and batch norm, twice."""
        first = _separable(make, in_channels, in_channels, stride, kernel, 1)
        second = _separable(make, in_channels, out_channels, 1, kernel, 1)
        return make.sequence(*first, *second)

    @OPERATIONS.register_module(name=f'dil_conv_{kernel}x{kernel}')
    def dil_conv(make: PlainLayers, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        """Depthwise convolution of dilation 2, pointwise convolution, batch norm."""
        return make.sequence(*_separable(make, in_channels, out_channels, stride, kernel, 2))


for _kernel in (3, 5, 7):
    _register_separable(_kernel)


@OPERATIONS.register_module(name='conv_7x1_1x7')
def conv_7x1_1x7(make: PlainLayers, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """ReLU, 1x7 then 7x1 convolution, batch norm (NASNet, AmoebaNet)."""
    return make.sequence(
        make.relu(),
        make.conv(in_channels, out_channels, (1, 7), stride=(1, stride), padding=(0, 3)),
        make.conv(out_channels, out_channels, (7, 1), stride=(stride, 1), padding=(3, 0)),
        make.norm(out_channels),
    )


def inverted_bottleneck(
    make: PlainLayers,
    in_channels: int,
    out_channels: int,
    stride: int,
    kernel: int,
    expansion: int,
    eps: float = 1e-5,
) -> list[nn.Module]:
    """The layers of MobileNetV2's block (https://arxiv.org/abs/1801.04381), without the shortcut.

    A 1x1 convolution to ``expansion`` times the channels (none where that is 1), a depthwise one,
    each with batch norm and ReLU6, and a linear 1x1 convolution with batch norm.
    """
    width = expansion * in_channels
    layers = []
    if expansion != 1:
        layers += [make.conv(in_channels, width, 1), make.norm(width, eps), make.relu6()]
    depthwise = make.conv(width, width, kernel, stride=stride, padding=kernel // 2, groups=width)
    layers += [depthwise, make.norm(width, eps), make.relu6()]
    return [*layers, make.conv(width, out_channels, 1), make.norm(out_channels, eps)]


def _register_mbconv(kernel: int, expansion: int) -> None:
    @OPERATIONS.register_module(name=f'mbconv_k{kernel}_e{expansion}')
    def mbconv(
        make: PlainLayers, in_channels: int, out_channels: int, stride: int, eps: float = 1e-5
    ) -> nn.Module:
        """Inverted bottleneck, with the shortcut where the shape stays (ProxylessNAS)."""
        layers = inverted_bottleneck(
            make, in_channels, out_channels, stride, kernel, expansion, eps
        )
        stays = stride == 1 and in_channels == out_channels
        return make.residual(*layers) if stays else make.sequence(*layers)


for _kernel in (3, 5, 7):
    for _expansion in (3, 6):
        _register_mbconv(_kernel, _expansion)
