"""An auxiliary skip connection that fades (DARTS-, https://arxiv.org/abs/2009.01027)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rdarts.configuration.schedule import Schedule, ScheduleSpec
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.registry import MIXED_OPS

NAME = 'auxiliary_skip'
"""The operation's name in ``OPERATIONS``, and its key in state dicts."""


@MIXED_OPS.register_module()
class AuxiliarySkip(MixedOp):
    """The mixture of an edge and, beside it, a skip connection times beta, which fades.

    The auxiliary skip has no alpha and is no candidate: no genotype holds it. Where the resolution
    is halved it is a factorised reduction with weights of its own, where the number of channels
    changes a 1x1 convolution. In fused execution it runs with the candidates.

    Args:
        beta (float | dict): Its factor, constant or a schedule over epochs: see
            :class:`~rdarts.configuration.schedule.Schedule`. The paper's falls linearly from 1 in
            epoch 0 to 0 in epoch 50, after the last. Defaults to 1.
        candidates, *args, **kwargs: See :class:`MixedOp`.

    Raises:
        UserError: beta is negative.
    """

    def __init__(
        self,
        candidates: Sequence[str] | Sequence[Sequence[str]],
        *args: Any,
        beta: ScheduleSpec = 1.0,
        **kwargs: Any,
    ) -> None:
        edges = [candidates] if isinstance(candidates[0], str) else candidates
        super().__init__([(*names, NAME) for names in edges], *args, **kwargs)
        name = f'beta of {type(self).__name__}'
        self.schedules = dict(beta=Schedule(beta, name=name, minimum=0.0))
        sizes = [len(names) for names in edges]
        starts = itertools.accumulate([0, *sizes[:-1]])
        last = sum(sizes)  # beta's place, after all mixing weights
        order = [
            place
            for start, size in zip(starts, sizes, strict=True)
            for place in (*range(start, start + size), last)
        ]
        self._sizes = sizes
        self.register_buffer('_order', torch.tensor(order), persistent=False)

    def forward_edges(
        self, x: Tensor, mixing: Mixing, into: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """See :meth:`MixedOp.forward_edges`; ``mixing`` is of the candidates alone."""
        beta = self.numbers()['beta']
        weights = torch.cat([mixing.weights, mixing.weights.new_full((1,), beta)])[self._order]
        active = mixing.active
        if active is not None or not beta:
            chosen = active or [range(size) for size in self._sizes]
            own = [[size] if beta else [] for size in self._sizes]
            active = [[*some, *one] for some, one in zip(chosen, own, strict=True)]
        return super().forward_edges(x, mixing._replace(weights=weights, active=active), into)
