"""What runs in place of a derived network's layers in fused execution, and which it may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rdarts.models.batch_norm import BatchNorm2d
from rdarts.models.layers import (
    FactorizedReduce,
    GroupedConv2d,
    Parameterless,
    Residual,
    StackedBatchNorm2d,
    StackedConv2d,
    StackedFactorizedReduce,
    StackedResidual,
    StackedSequence,
)

STATISTICS = ('running_mean', 'running_var')
ORDINARY = {
    Parameterless: (Parameterless,),
    StackedBatchNorm2d: (BatchNorm2d,),
    StackedConv2d: (nn.Conv2d, GroupedConv2d),
    StackedFactorizedReduce: (FactorizedReduce,),
    StackedResidual: (Residual,),
    StackedSequence: (nn.Sequential,),
}
"""The ordinary layers that stacked ones may run in place of."""


class Declined(Exception):
    """Layers that fused execution does not run; the text says why."""


class Twins:
    """Batch norms that run in place of others: one for one, or row by row of a stacked one."""

    def __init__(self) -> None:
        self._pairs: list[tuple[nn.Module, Sequence[BatchNorm2d]]] = []

    def add(self, norm: nn.Module, originals: Sequence[BatchNorm2d]) -> None:
        """Have ``norm`` stand for the originals, with statistics of their type.

        Raises:
            Declined: These are no batch norms of ours of as many channels, or are without what
                ours have.
        """
        for one in originals:
            if type(one) is not BatchNorm2d or one.weight is None or one.running_mean is None:
                kind = type(one).__name__
                raise Declined(f'{kind} is not batch norm as derived networks have it')
        if len({one.num_features for one in originals}) > 1:
            raise Declined('batch norms of one operation on several edges have other channels')
        dtype = originals[0].weight.dtype
        for name in STATISTICS:
            whole = torch.ones_like(getattr(norm, name), device='cpu', dtype=dtype)
            setattr(norm, name, whole)
        self._pairs.append((norm, originals))

    def mode(self) -> bool | None:
        """Whether all originals are in training, or none; the twins get their settings.

        Returns:
            bool | None: None where no twins can stand in now: modes differ, those of one twin have
            other settings than each other, or statistics are a mean of all batches (no momentum).
        """
        modes = set()
        for norm, originals in self._pairs:
            settings = {(one.eps, one.momentum) for one in originals}
            norm.eps, norm.momentum = settings.pop()
            modes.update(one.training for one in originals)
            known = norm.momentum is not None and not settings
            if not known or any(one.running_mean is None for one in originals):
                return None
        return modes.pop() if len(modes) == 1 else None

    @contextmanager
    def standing_in(self, training: bool) -> Iterator[None]:
        """Within, they have the statistics of the originals, which training moves.

        Args:
            training (bool): Their mode.
        """
        rows, statistics = self._renewed(), self._statistics()
        torch._foreach_copy_(rows, statistics)
        for norm, _ in self._pairs:
            norm.training = training
        yield
        if training:
            torch._foreach_copy_(statistics, rows)
            counts = [one.num_batches_tracked for _, many in self._pairs for one in many]
            torch._foreach_add_(counts, 1)

    def _renewed(self) -> list[Tensor]:
        """What is to be each original's in new statistics of the twins: graphs keep the last."""
        rows = []
        for norm, originals in self._pairs:
            buffers = norm._buffers  # a module finds its attributes in five times the time
            for name in STATISTICS:
                buffers[name] = whole = torch.ones_like(buffers[name])
                rows += whole.view(len(originals), -1)[:, : originals[0].num_features].unbind(0)
        return rows

    def _statistics(self) -> list[Tensor]:
        """The originals' own, in the order of :meth:`_renewed`."""
        return [
            one._buffers[name]
            for _, originals in self._pairs
            for name in STATISTICS
            for one in originals
        ]


def check_alike(stacked: nn.Module, layer: nn.Module) -> None:
    """A stacked layer must compute what an ordinary one does, by the parameters of that.

    Args:
        stacked (nn.Module): Without regard to layers within it, but for their names. Its channels
            may have others behind them, which get zeros.
        layer (nn.Module): The ordinary one.

    Raises:
        Declined: It does not: the ordinary one was changed after it was built.
    """
    alike = (
        type(layer) in ORDINARY.get(type(stacked), ())
        and layer._modules.keys() == stacked._modules.keys()
        and (not isinstance(stacked, Parameterless) or layer.name == stacked.name)
        and (not isinstance(stacked, StackedConv2d) or _is_convolution(stacked, layer))
    )
    if not alike:
        raise Declined(f'a layer {type(layer).__name__} is not what its operation is built with')


def _is_convolution(stacked: StackedConv2d, conv: nn.Conv2d) -> bool:
    _, out_channels, in_channels, *size = stacked.weight.shape
    pairs = {
        name: (value,) * 2 if isinstance(value, int) else tuple(value)
        for name, value in stacked.args.items()
    }
    groups = stacked.args['groups']
    if groups > 1 and conv.in_channels != in_channels * groups:
        # Channels behind others are none of a group's but where each has its own
        same_groups = in_channels == 1 and conv.groups == conv.in_channels
    else:
        same_groups = conv.groups == groups
    return (
        same_groups
        and conv.bias is None
        and conv.padding_mode == 'zeros'
        and conv.kernel_size == tuple(size)
        and all(getattr(conv, name) == pairs[name] for name in ('stride', 'padding', 'dilation'))
        and conv.weight.shape[0] <= out_channels
        and conv.weight.shape[1] <= in_channels
    )
