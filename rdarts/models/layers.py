"""The layers that candidate operations are made of, of one edge or stacked over many.

:class:`PlainLayers` makes ordinary modules. :class:`StackedLayers` makes the same layers of many
edges at once: every tensor has the edge as its leading dimension, and ``unbind()`` gives one
function an edge: of its own parameters, or of tensors that stand for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.models.batch_norm import BatchNorm2d
from rdarts.models.kernels import precision

EdgeFunction = Callable[[Tensor], Tensor]
Tensors = Iterator[Tensor] | None
"""In place of the parameters of stacked layers, [edges, ...] each, in the order of the layers."""


def safe_format(x: Tensor) -> Tensor:
    """``x`` in a memory format that strided 1x1 convolutions may have on a CPU.

    Their backward in oneDNN writes out of bounds for fewer than 16 channels in channels_last:
    https://github.com/uxlfoundation/oneDNN/issues/6035
    """
    return x.contiguous() if x.device.type == 'cpu' and x.shape[1] < 16 else x


def conv2d(x: Tensor, weight: Tensor, **args: Any) -> Tensor:
    """``F.conv2d``, whose gradients in bfloat16 are right on a CPU.

    Args:
        x (Tensor): [N, C, H, W].
        weight (Tensor): [O, C / groups, k, k].
        args: ``stride``, ``padding``, ``dilation``, ``groups``.
    """
    if not precision.needs_float32(x, args['dilation'], args['groups']):
        return F.conv2d(x, weight, **args)
    with precision.no_autocast(x.device.type):
        return F.conv2d(x.float(), weight.float(), **args).to(torch.bfloat16)


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

    def unbind(self, tensors: Tensors = None) -> list[EdgeFunction]:
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


class GroupedConv2d(nn.Conv2d):
    """``nn.Conv2d`` with ``groups``, without bias, by :func:`conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        args = dict(stride=self.stride, padding=self.padding)
        return conv2d(x, self.weight, dilation=self.dilation, groups=self.groups, **args)


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

    def unbind(self, tensors: Tensors = None) -> list[EdgeFunction]:
        def bind(weight: Tensor) -> EdgeFunction:
            return lambda x: conv2d(x, weight, **self.args)

        weights = self.weight if tensors is None else next(tensors)
        return [bind(weight) for weight in weights.unbind(0)]

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
        return self.training or self.running is None

    @property
    def running(self) -> tuple[Tensor, Tensor] | None:
        """Running mean and variance, [edges, channels] each, where they are tracked."""
        buffers = self._buffers  # a module finds its attributes in five times the time
        mean = buffers['running_mean']
        return None if mean is None else (mean, buffers['running_var'])

    def unbind(self, tensors: Tensors = None) -> list[EdgeFunction]:
        affine = [self.weight, self.bias]
        if tensors is not None and self.weight is not None:
            affine = [next(tensors), next(tensors)]
        whole = [self.running_mean, self.running_var, *affine]
        rows = [[None] * self.edges if t is None else t.unbind(0) for t in whole]
        batch_stats = self.takes_batch

        def bind(mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> EdgeFunction:
            return lambda x: F.batch_norm(
                x, mean, var, weight, bias, batch_stats, self.momentum, self.eps
            )

        return [bind(*row) for row in zip(*rows, strict=True)]


class StackedSequence(nn.Sequential):
    """Stacked layers one after another."""

    def unbind(self, tensors: Tensors = None) -> list[EdgeFunction]:
        def chain(layers: Sequence[EdgeFunction]) -> EdgeFunction:
            def run(x: Tensor) -> Tensor:
                for layer in layers:
                    x = layer(x)
                return x

            return run

        layers = [layer.unbind(tensors) for layer in self]
        return [chain(edge) for edge in zip(*layers, strict=True)]


class StackedFactorizedReduce(FactorizedReduce):
    """:class:`FactorizedReduce` of many edges."""

    def unbind(self, tensors: Tensors = None) -> list[EdgeFunction]:
        def bind(*layers: EdgeFunction) -> EdgeFunction:
            return lambda x: factorized_reduce(x, *layers)

        parts = [layer.unbind(tensors) for layer in (self.conv_1, self.conv_2, self.bn)]
        return [bind(*edge) for edge in zip(*parts, strict=True)]


class Residual(nn.Sequential):
    """Layers one after another, added to what they read."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class StackedResidual(StackedSequence):
    """:class:`Residual` of many edges."""

    def unbind(self, tensors: Tensors = None) -> list[EdgeFunction]:
        def add(layers: EdgeFunction) -> EdgeFunction:
            return lambda x: x + layers(x)

        return [add(layers) for layers in super().unbind(tensors)]


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
        kind = GroupedConv2d if kwargs.get('groups', 1) > 1 else nn.Conv2d
        return kind(in_channels, out_channels, kernel_size, bias=False, **kwargs)

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
