"""Dropout on skip connections while a supernet is searched (P-DARTS, https://arxiv.org/abs/1904.12760)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rdarts.configuration.schedule import Schedule, ScheduleSpec
from rdarts.errors import UserError
from rdarts.models.layers import Parameterless
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.operations import identity
from rdarts.registry import MIXED_OPS


@MIXED_OPS.register_module()
class SkipDropout(MixedOp):
    """Each number that a skip connection hands on is dropped with a probability, in training.

    What stays is scaled up so that the mean does, in the steps of alpha and of the weights alike.
    So the weights find no way around the other candidates early in the search (search space
    regularization of the paper). As published, it acts on skip connections that keep the shape
    alone: those of stride 2 are factorised reductions, which have weights.

    In any execution these skip connections are added after the other candidates, which run together
    where the execution is fused; where nothing is dropped, they run as any other.

    The probability in an epoch is ``rate`` times ``fading``. Published, of a stage of E epochs of
    which alpha rests in the first r, fading is (E - e - 1) / E in epoch e while alpha rests, then,
    from 1 once more, exp(-.2 (e - r)). By default that code has a rate of 0, and then no dropout at
    all; the command that its authors give has .1, .4 and .7 in the three stages.

    Args:
        rate (float | dict): A probability, constant or a schedule over epochs: see
            :class:`~rdarts.configuration.schedule.Schedule`. Defaults to 0.
        fading (float | dict): The factor, likewise. Defaults to 1.
        candidates, *args, **kwargs: See :class:`MixedOp`.

    Raises:
        UserError: One is negative, or their largest values give no probability below 1.
    """

    def __init__(
        self,
        candidates: Sequence[str] | Sequence[Sequence[str]],
        *args: Any,
        rate: ScheduleSpec = 0.0,
        fading: ScheduleSpec = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(candidates, *args, **kwargs)
        given = dict(rate=rate, fading=fading)
        self.schedules = {
            name: Schedule(spec, name=f'{name} of SkipDropout', minimum=0.0)
            for name, spec in given.items()
        }
        largest = [max(value for _, value in one.points) for one in self.schedules.values()]
        if math.prod(largest) >= 1:
            raise UserError(
                f'rate of SkipDropout times fading must be below 1, but is {math.prod(largest):g}'
            )
        skips = {name for name, operation in self.operations.items() if _is_identity(operation)}
        self._skips = [[name in skips for name, _ in slots] for slots in self.slots]
        others = [float(not skip) for edge in self._skips for skip in edge]
        self.register_buffer('_others', torch.tensor(others), persistent=False)

    def forward_edges(
        self, x: Tensor, mixing: Mixing, into: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """See :meth:`MixedOp.forward_edges`."""
        rate = math.prod(self.numbers().values())
        if not self.training or not rate or not any(map(any, self._skips)):
            return super().forward_edges(x, mixing, into)
        sizes = [len(edge) for edge in self._skips]
        mixing = mixing.folded(sizes)
        active = [range(size) for size in sizes] if mixing.active is None else mixing.active
        pairs = list(zip(active, self._skips, strict=True))
        rest = mixing._replace(active=[[k for k in some if not skip[k]] for some, skip in pairs])
        if mixing.constant:  # a skip connection that runs adds no constant
            rest = rest._replace(weights=mixing.weights * self._others)
        outputs = super().forward_edges(x, rest, into)
        for edge, (beta, (some, skip)) in enumerate(zip(mixing.by_edge(sizes), pairs, strict=True)):
            for k in some:
                if skip[k]:
                    name = self.candidates[edge][k]
                    run = self._observed(edge, name, partial(_dropped, rate=rate))
                    outputs[edge] = outputs[edge] + beta[k] * run(x)
        return outputs


def _is_identity(operation: torch.nn.Module) -> bool:
    return isinstance(operation, Parameterless) and operation.function is identity


def _dropped(x: Tensor, rate: float) -> Tensor:
    """Images [N, C, H, W], each number of which is 0 with the probability ``rate``.

    The masks are drawn in one order, in whichever format the images lie in memory.
    """
    kept = torch.empty(x.shape, dtype=torch.bool, device=x.device).bernoulli_(1 - rate)
    return x * kept * (1 / (1 - rate))
