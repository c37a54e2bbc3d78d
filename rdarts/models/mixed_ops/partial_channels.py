"""Partial channel connections (PC-DARTS, https://arxiv.org/abs/1907.05737)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rdarts.configuration.declarations import Positive
from rdarts.errors import UserError
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.registry import MIXED_OPS


@MIXED_OPS.register_module()
class PartialChannels(MixedOp):
    """The candidates see one K-th of the channels; the others pass by (Eq. 3 of the paper).

    Those that pass by are max-pooled where the stride is 2. The channels are shuffled afterwards,
    so that the next edge's candidates see others: in K groups, (c mod K) C / K + c // K. The
    candidates always see the first C / K channels, as published; the paper has a mask that may
    sample them. An edge's factor (:class:`EdgeWeights`) multiplies its whole result, as published.

    Args:
        share (int): K. Defaults to 4.
        candidates, in_channels, out_channels, stride, **kwargs: See :class:`MixedOp`; input and
            output have the same number of channels.

    Raises:
        UserError: K does not divide the number of channels, or the edges change it.
    """

    def __init__(
        self,
        candidates: Sequence[str] | Sequence[Sequence[str]],
        in_channels: int,
        out_channels: int | None = None,
        stride: int = 1,
        share: Positive = 4,
        **kwargs: Any,
    ) -> None:
        check_kept('PartialChannels', in_channels, out_channels)
        if not isinstance(share, int) or share < 1 or in_channels % share:
            raise UserError(
                f'share of PartialChannels must divide the number of channels, but is {share!r} '
                f'of {in_channels}'
            )
        super().__init__(candidates, in_channels // share, None, stride, **kwargs)
        self.share = share

    def forward_edges(
        self, x: Tensor, mixing: Mixing, into: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """See :meth:`MixedOp.forward_edges`."""
        count = x.shape[1] // self.share
        own, rest = x.split([count, x.shape[1] - count], dim=1)
        parts = super().forward_edges(own, mixing._replace(edge_factor=None))
        rest = bypass(rest, self.stride)
        outputs = [shuffle(torch.cat([part, rest], dim=1), self.share) for part in parts]
        return weighted(outputs, mixing.edge_factor, into)


def check_kept(name: str, in_channels: int, out_channels: int | None) -> None:
    """A mixed operation that lets channels pass by needs as many behind the edge.

    Raises:
        UserError: The edge changes their number.
    """
    if out_channels not in (None, in_channels):
        raise UserError(
            f'{name} is for edges that keep the number of channels, of a cell; '
            f'but one goes from {in_channels} to {out_channels}'
        )


def bypass(x: Tensor, stride: int) -> Tensor:
    """Channels [N, C, H, W] that no candidate sees: max-pooled where the stride is 2."""
    return F.max_pool2d(x, 2, 2, ceil_mode=True) if stride == 2 else x


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Channels [N, C, H, W] taken from ``groups`` groups in turn, in the memory format of x."""
    if x.is_contiguous(memory_format=torch.channels_last):
        parts = x.permute(0, 2, 3, 1).unflatten(-1, (groups, -1))
        return parts.transpose(-2, -1).flatten(-2).permute(0, 3, 1, 2)
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def weighted(
    outputs: Sequence[Tensor], factors: Tensor | None, into: Sequence[Tensor | None] | None
) -> list[Tensor]:
    """Whole results of edges times their factors [edges], added to ``into``."""
    if factors is not None:
        outputs = [out * one for out, one in zip(outputs, factors.unbind(0), strict=True)]
    into = [None] * len(outputs) if into is None else into
    return [out if one is None else one + out for one, out in zip(into, outputs, strict=True)]
