"""Two paths over halves of the channels (FP-DARTS, Pattern Recognition 136, 109193)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import broadcast
from torch import Tensor

from rdarts.errors import UserError
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.mixed_ops.partial_channels import bypass, check_kept, shuffle, weighted
from rdarts.registry import MIXED_OPS

BOTH = 2
"""The gate of an edge on which path 0 and path 1 run."""


def path_of(place: int) -> int:
    """The path of a candidate, 0 or 1, by its place in the whole list of its edge."""
    return place % 2


@MIXED_OPS.register_module()
class TwoPaths(MixedOp):
    """Half of the candidates see one half of the channels, the others see the other half.

    Of the halves x_a and x_b, shuffled as in :class:`PartialChannels` with K = 2,

        path 0: shuffle[mix_0(x_a), x_b],    path 1: shuffle[x_a, mix_1(x_b)],

    and where both run, their sum. What passes by is max-pooled where the stride is 2. A path none
    of whose candidates runs is dropped; :class:`~rdarts.architect.relaxations.path_gates.PathGates`
    draws which. An edge's factor multiplies its whole result.

    The published code is incomplete: it does not say which candidates form which path. That they
    take turns (the first, third, ... are path 0, so that pooling, skip connection and each kind of
    convolution are in both) is ours. It draws the gates once, when the network is made, for each
    edge of each cell; since alpha is shared by the cells, all candidates learn nevertheless:
    ``fixed_gates``, which goes with ``PathGates(draw=False)``.

    Args:
        fixed_gates (bool): Whether path 0, path 1 or both are chosen once, with equal probability.
            They are the entry ``gates`` of the state dict, [edges]. Defaults to False.
        candidates, in_channels, out_channels, stride, **kwargs: See :class:`MixedOp`; input and
            output have the same number of channels.

    Raises:
        UserError: The number of channels is odd, or the edges change it.
    """

    def __init__(
        self,
        candidates: Sequence[str] | Sequence[Sequence[str]],
        in_channels: int,
        out_channels: int | None = None,
        stride: int = 1,
        fixed_gates: bool = False,
        **kwargs: Any,
    ) -> None:
        check_kept('TwoPaths', in_channels, out_channels)
        if in_channels % 2:
            raise UserError(f'TwoPaths halves the channels, but there are {in_channels} of them')
        super().__init__(candidates, in_channels // 2, None, stride, **kwargs)
        self._gates = [BOTH] * len(self.slots)
        if fixed_gates:
            gates = torch.randint(BOTH + 1, (len(self.slots),))
            broadcast(gates)  # ranks may have been seeded apart
            self.register_buffer('gates', gates)
            self._read_gates()

    def forward_edges(
        self, x: Tensor, mixing: Mixing, into: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """See :meth:`MixedOp.forward_edges`.

        Raises:
            UserError: The relaxation gives constants, which have no place in a path.
        """
        if mixing.constant:
            raise UserError('TwoPaths mixes no constants: set constant=False of the relaxation')
        halves = x.chunk(2, dim=1)
        paths = [self._active(path, mixing.active) for path in (0, 1)]
        mixed = [
            MixedOp.forward_edges(self, half, Mixing(mixing.weights, active))
            for half, active in zip(halves, paths, strict=True)
        ]
        rest = [bypass(half, self.stride) for half in halves]
        outputs = []
        for (first, second), (one, other) in zip(
            zip(*mixed, strict=True), zip(*paths, strict=True), strict=True
        ):
            # what passes by one path is added to what the other one makes of the same channels
            first = first + rest[0] if other else first
            second = second + rest[1] if one else second
            outputs.append(shuffle(torch.cat([first, second], dim=1), 2))
        return weighted(outputs, mixing.edge_factor, into)

    def _active(self, path: int, active: Sequence[Sequence[int]] | None) -> list[list[int]]:
        """The candidates of each edge that run on a path."""
        chosen = [range(len(slots)) for slots in self.slots] if active is None else active
        return [
            [k for k in own if path_of(k) == path] if gate in (path, BOTH) else []
            for own, gate in zip(chosen, self._gates, strict=True)
        ]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if 'gates' in self._buffers:
            self._read_gates()

    def _read_gates(self) -> None:
        if not self.gates.is_meta:  # else only sizes are asked for
            self._gates = self.gates.tolist()
