"""Operations whose parameters are parts of those of larger ones, and what several parts make."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rdarts.models.layers import StackedBatchNorm2d, StackedConv2d, StackedLayers


class PartLayers(StackedLayers):
    """Makes the layers of an operation of those of a larger one of its kind.

    Args:
        whole (Module): The larger operation.
    """

    def __init__(self, whole: nn.Module) -> None:
        super().__init__(len(tensors_of(whole)[0]))
        self._wholes = iter(layers_of(whole))

    def conv(self, in_channels: int, out_channels: int, kernel_size: int, **kwargs) -> nn.Module:
        return PartConv2d(next(self._wholes), in_channels, out_channels, kernel_size, **kwargs)

    def norm(self, channels: int, eps: float = 1e-5) -> nn.Module:
        return PartBatchNorm2d(next(self._wholes), channels)


class PartConv2d(StackedConv2d):
    """A part of the kernels of other stacked convolutions: their centre, their first channels.

    Args:
        whole (StackedConv2d): The others.
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups: See
            :class:`~rdarts.models.layers.StackedConv2d`.
    """

    def __init__(
        self,
        whole: StackedConv2d,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        nn.Module.__init__(self)  # its parameters are there already
        self._whole = (whole,)  # not a module of this one: it stands in the state dict once
        self.args = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
        start = (whole.weight.shape[-1] - kernel_size) // 2
        centre = slice(start, start + kernel_size)
        self.part = (slice(out_channels), slice(in_channels // groups), centre, centre)

    @property
    def weight(self) -> Tensor:
        return self._whole[0].weight[(slice(None), *self.part)]


class PartBatchNorm2d(StackedBatchNorm2d):
    """The first channels of other stacked batch norms.

    Args:
        whole (StackedBatchNorm2d): The others.
        channels (int): How many.
    """

    def __init__(self, whole: StackedBatchNorm2d, channels: int) -> None:
        nn.Module.__init__(self)  # its parameters are there already
        self._whole = (whole,)
        self.edges, self.eps, self.momentum = whole.edges, whole.eps, whole.momentum
        self.part = (slice(channels),)

    def _first(self, name: str) -> Tensor | None:
        tensor = getattr(self._whole[0], name)
        return None if tensor is None else tensor[:, self.part[0]]

    weight = property(lambda self: self._first('weight'))
    bias = property(lambda self: self._first('bias'))
    running_mean = property(lambda self: self._first('running_mean'))
    running_var = property(lambda self: self._first('running_var'))

    @property
    def running(self) -> tuple[Tensor, Tensor] | None:
        return None if self.running_mean is None else (self.running_mean, self.running_var)


def layers_of(operation: nn.Module) -> list[StackedConv2d | StackedBatchNorm2d]:
    """The layers of an operation that have parameters, in order."""
    kinds = (StackedConv2d, StackedBatchNorm2d)
    return [layer for layer in operation.modules() if isinstance(layer, kinds)]


def tensors_of(operation: nn.Module) -> list[Tensor]:
    """What stands for the parameters of an operation, [rows, ...] each, in order."""
    found = []
    for layer in layers_of(operation):
        own = [layer.weight] if isinstance(layer, StackedConv2d) else [layer.weight, layer.bias]
        found += [tensor for tensor in own if tensor is not None]
    return found


class Superposition(nn.Module):
    """What an operation has for its parameters where parts of it run, too.

    Of a tensor w of which the parts are w_k: sum_k share_k pad(w_k), which is w times how much of
    the shares reaches each channel and each place of the kernel.

    Args:
        operations (Sequence[Module]): The operation, and its parts.

    Attributes:
        rows (int): How many edges the tensors are stacked over.
    """

    def __init__(self, operations: Sequence[nn.Module]) -> None:
        super().__init__()
        self.rows = len(tensors_of(operations[0])[0])
        channels, spatial = torch.ones(len(operations), 1), torch.ones(len(operations), 1, 1)
        self.differs: list[tuple[int | None, bool]] = []  # of each tensor: the axis; the kernel
        for tensors in zip(*map(tensors_of, operations), strict=True):
            sizes = list(zip(*(tensor.shape[1:] for tensor in tensors), strict=True))
            axes = [axis for axis, each in enumerate(sizes) if len(set(each)) > 1]
            axis, kernel = next((axis for axis in axes if axis < 2), None), 2 in axes
            self.differs.append((axis, kernel))
            if axis is not None:
                channels = torch.tensor([_inside(0, one, sizes[axis][0]) for one in sizes[axis]])
            if kernel:
                whole = sizes[2][0]
                rows = [_inside((whole - one) // 2, one, whole) for one in sizes[2]]
                spatial = torch.tensor(rows)[:, :, None] * torch.tensor(rows)[:, None, :]
        self.register_buffer('channels', channels, persistent=False)  # [operations, C]
        self.register_buffer('spatial', spatial, persistent=False)  # [operations, k, k]

    def forward(self, operation: nn.Module, shares: Tensor) -> list[Tensor]:
        """Of each tensor of the operation.

        Args:
            operation (Module): The first one.
            shares (Tensor): Its own and those of its parts, [rows, operations].
        """
        shares = shares.to(self.channels.dtype)

        @functools.cache
        def reach(wide: bool, kernel: bool) -> Tensor:
            # the first channel and the centre are in every part
            channels = self.channels if wide else self.channels[:, :1]
            middle = self.spatial.shape[-1] // 2
            inner = slice(None) if kernel else slice(middle, middle + 1)
            spatial = self.spatial[:, inner, inner]
            return torch.einsum('rm,mc,mkl->rckl', shares, channels, spatial)

        found = []
        for tensor, (axis, kernel) in zip(tensors_of(operation), self.differs, strict=True):
            if axis is not None or kernel:
                sizes = [len(tensor), *[1] * (tensor.dim() - 1)]
                if axis is not None:
                    sizes[1 + axis] = -1
                if kernel:
                    sizes[3:] = tensor.shape[3:]
                tensor = tensor * reach(axis is not None, kernel).view(sizes)
            found.append(tensor)
        return found


def _inside(start: int, size: int, whole: int) -> list[float]:
    """1 for those of ``whole`` places that are among the ``size`` from ``start`` on, else 0."""
    return [float(start <= place < start + size) for place in range(whole)]
