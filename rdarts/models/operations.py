"""Candidate operations, by their usual names.

An entry of ``OPERATIONS`` is either

- a builder ``f(make, in_channels, out_channels, stride) -> nn.Module`` that describes the
  operation by the layers that ``make`` makes: :class:`PlainLayers` gives an ordinary module
  (derived networks), :class:`StackedLayers` the same operation for many edges at once, every
  tensor with the edge as its leading dimension (supernets); or
- any ``nn.Module`` class with the arguments ``(in_channels, out_channels, stride)``, of which
  a supernet then holds one copy an edge.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.models.batch_norm import BatchNorm2d
from rdarts.models.kernels import standard_normal
from rdarts.registry import OPERATIONS, lookup

EdgeFunction = Callable[[Tensor], Tensor]


def identity(x: Tensor) -> Tensor:
    """The skip connection that keeps the shape."""
    return x


def zero(x: Tensor, channels: int, stride: int) -> Tensor:
    """Zeros of the shape that an operation of this stride would give."""
    size = [math.ceil(s / stride) for s in x.shape[2:]]
    return x.new_zeros(x.shape[0], channels, *size)


def noise(x: Tensor, channels: int, stride: int) -> Tensor:
    """N(0, 1) of the shape that an operation of this stride would give, whatever ``x``."""
    size = [math.ceil(s / stride) for s in x.shape[2:]]
    out = torch.empty(x.shape[0], channels, *size, dtype=x.dtype, device=x.device)
    return standard_normal(out)


@dataclass(frozen=True)
class Pool3x3:
    """3x3 pooling with padding 1: the maximum, or the average without the padding."""

    maximum: bool
    stride: int

    def __call__(self, x: Tensor) -> Tensor:
        if self.maximum:
            return F.max_pool2d(x, 3, self.stride, padding=1)
        return F.avg_pool2d(x, 3, self.stride, padding=1, count_include_pad=False)


def safe_format(x: Tensor) -> Tensor:
    """``x`` in a memory format that strided 1x1 convolutions may have on a CPU.

    Their backward in oneDNN writes out of bounds for fewer than 16 channels in channels_last:
    https://github.com/uxlfoundation/oneDNN/issues/6035
    """
    return x.contiguous() if x.device.type == 'cpu' and x.shape[1] < 16 else x


def factorized_reduce(
    x: Tensor, first: EdgeFunction, second: EdgeFunction, norm: EdgeFunction
) -> Tensor:
    """Halve the resolution by two 1x1 convolutions of stride 2, one shifted by a pixel.

    An odd side is padded for the shifted branch, so that both give ceil(size / 2).
    """
    x = safe_format(F.relu(x))
    pad = [x.shape[3] % 2, x.shape[2] % 2]
    shifted = F.pad(x, (0, pad[0], 0, pad[1])) if any(pad) else x
    return norm(torch.cat([first(x), second(shifted[:, :, 1:, 1:])], dim=1))


class Parameterless(nn.Module):
    """A function of ``x`` as a layer: the same on every edge."""

    def __init__(self, function: EdgeFunction, name: str, edges: int = 1) -> None:
        super().__init__()
        self.function, self.name, self.edges = function, name, edges

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def unbind(self) -> list[EdgeFunction]:
        return [self.function] * self.edges

    def extra_repr(self) -> str:
        return self.name


def is_relu(layer: nn.Module) -> bool:
    """Whether a layer is the ReLU that ``make.relu()`` makes."""
    return isinstance(layer, Parameterless) and layer.function is F.relu


class FactorizedReduce(nn.Module):
    """The stride-2 skip connection of DARTS, for one edge.

    Args:
        make (PlainLayers): Makes its layers.
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output; each branch gives half of them.
    """

    def __init__(self, make: PlainLayers, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.conv_1 = make.conv(in_channels, half, 1, stride=2)
        self.conv_2 = make.conv(in_channels, out_channels - half, 1, stride=2)
        self.bn = make.norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return factorized_reduce(x, self.conv_1, self.conv_2, self.bn)


class StackedConv2d(nn.Module):
    """Convolutions of many edges, without bias.

    Args:
        edges (int): Number of edges.
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        kernel_size (int | tuple[int, int]): Kernel size.
        stride, padding, dilation, groups: As ``nn.Conv2d``'s.
    """

    def __init__(
        self,
        edges: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        size = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
        self.args = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
        self.weight = nn.Parameter(torch.empty(edges, out_channels, in_channels // groups, *size))
        for weight in self.weight.detach():  # each slice as a separate nn.Conv2d starts
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))

    def unbind(self) -> list[EdgeFunction]:
        def bind(weight: Tensor) -> EdgeFunction:
            return lambda x: F.conv2d(x, weight, **self.args)

        return [bind(weight) for weight in self.weight.unbind(0)]

    def extra_repr(self) -> str:
        return f'weight={tuple(self.weight.shape)}, {self.args}'


class StackedBatchNorm2d(nn.Module):
    """Batch norms of many edges.

    Args:
        edges (int): Number of edges.
        channels (int): Channels of each.
        affine (bool): Whether they have weights and biases.
        track_running_stats (bool): Whether evaluation uses running statistics.
        eps (float): Added to the variance. Defaults to 1e-5.
        momentum (float): Of the running statistics. Defaults to .1.
    """

    def __init__(
        self,
        edges: int,
        channels: int,
        affine: bool,
        track_running_stats: bool,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.edges, self.eps, self.momentum = edges, eps, momentum
        self.weight = nn.Parameter(torch.ones(edges, channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(edges, channels)) if affine else None
        mean = torch.zeros(edges, channels) if track_running_stats else None
        self.register_buffer('running_mean', mean)
        self.register_buffer('running_var', None if mean is None else torch.ones_like(mean))

    @property
    def takes_batch(self) -> bool:
        """Whether they take the statistics of the batch, so that gradients go through them."""
        return self.training or self.running_mean is None

    def unbind(self) -> list[EdgeFunction]:
        tensors = [self.running_mean, self.running_var, self.weight, self.bias]
        rows = [[None] * self.edges if t is None else t.unbind(0) for t in tensors]
        batch_stats = self.takes_batch

        def bind(mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> EdgeFunction:
            return lambda x: F.batch_norm(
                x, mean, var, weight, bias, batch_stats, self.momentum, self.eps
            )

        return [bind(*row) for row in zip(*rows, strict=True)]


class StackedSequence(nn.Sequential):
    """Stacked layers one after another."""

    def unbind(self) -> list[EdgeFunction]:
        def chain(layers: Sequence[EdgeFunction]) -> EdgeFunction:
            def run(x: Tensor) -> Tensor:
                for layer in layers:
                    x = layer(x)
                return x

            return run

        layers = [layer.unbind() for layer in self]
        return [chain(edge) for edge in zip(*layers, strict=True)]


class StackedFactorizedReduce(FactorizedReduce):
    """:class:`FactorizedReduce` of many edges."""

    def unbind(self) -> list[EdgeFunction]:
        def bind(*layers: EdgeFunction) -> EdgeFunction:
            return lambda x: factorized_reduce(x, *layers)

        parts = [self.conv_1.unbind(), self.conv_2.unbind(), self.bn.unbind()]
        return [bind(*edge) for edge in zip(*parts, strict=True)]


class Residual(nn.Sequential):
    """Layers one after another, added to what they read."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class StackedResidual(StackedSequence):
    """:class:`Residual` of many edges."""

    def unbind(self) -> list[EdgeFunction]:
        def add(layers: EdgeFunction) -> EdgeFunction:
            return lambda x: x + layers(x)

        return [add(layers) for layers in super().unbind()]


class EdgeCopies(nn.ModuleList):
    """One copy an edge of an operation that is an ordinary module."""

    def unbind(self) -> list[EdgeFunction]:
        return list(self)


class PlainLayers:
    """Makes ordinary layers: an operation is then an ordinary module.

    Args:
        affine (bool): Of the batch norms. Defaults to True.
        track_running_stats (bool): Of the batch norms. Defaults to True.
    """

    def __init__(self, affine: bool = True, track_running_stats: bool = True) -> None:
        self.affine, self.track_running_stats = affine, track_running_stats

    def conv(self, in_channels: int, out_channels: int, kernel_size: Any, **kwargs) -> nn.Module:
        return nn.Conv2d(in_channels, out_channels, kernel_size, bias=False, **kwargs)

    def norm(self, channels: int, eps: float = 1e-5) -> nn.Module:
        return BatchNorm2d(
            channels, eps=eps, affine=self.affine, track_running_stats=self.track_running_stats
        )

    def function(self, function: EdgeFunction, name: str) -> nn.Module:
        return Parameterless(function, name)

    def sequence(self, *layers: nn.Module) -> nn.Module:
        return nn.Sequential(*layers)

    def residual(self, *layers: nn.Module) -> nn.Module:
        return Residual(*layers)

    def factorized_reduce(self, in_channels: int, out_channels: int) -> nn.Module:
        return FactorizedReduce(self, in_channels, out_channels)

    def copies(self, cls: type[nn.Module], *args, **kwargs) -> nn.Module:
        return cls(*args, **kwargs)

    def relu(self) -> nn.Module:
        return self.function(F.relu, 'relu')

    def relu6(self) -> nn.Module:
        return self.function(F.relu6, 'relu6')


class StackedLayers(PlainLayers):
    """Makes layers for many edges at once.

    Args:
        edges (int): Number of edges.
        affine (bool): Of the batch norms. Defaults to False, as in a search.
        track_running_stats (bool): Of the batch norms. Defaults to True.
    """

    def __init__(self, edges: int, affine: bool = False, track_running_stats: bool = True) -> None:
        super().__init__(affine, track_running_stats)
        self.edges = edges

    def conv(self, in_channels: int, out_channels: int, kernel_size: Any, **kwargs) -> nn.Module:
        return StackedConv2d(self.edges, in_channels, out_channels, kernel_size, **kwargs)

    def norm(self, channels: int, eps: float = 1e-5) -> nn.Module:
        return StackedBatchNorm2d(
            self.edges, channels, self.affine, self.track_running_stats, eps=eps
        )

    def function(self, function: EdgeFunction, name: str) -> nn.Module:
        return Parameterless(function, name, self.edges)

    def sequence(self, *layers: nn.Module) -> nn.Module:
        return StackedSequence(*layers)

    def residual(self, *layers: nn.Module) -> nn.Module:
        return StackedResidual(*layers)

    def factorized_reduce(self, in_channels: int, out_channels: int) -> nn.Module:
        return StackedFactorizedReduce(self, in_channels, out_channels)

    def copies(self, cls: type[nn.Module], *args, **kwargs) -> nn.Module:
        return EdgeCopies(cls(*args, **kwargs) for _ in range(self.edges))


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
