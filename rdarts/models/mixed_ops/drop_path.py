"""Drop-path of edges while a supernet is searched (RobustDARTS, https://arxiv.org/abs/1909.09656)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rdarts.configuration.schedule import Schedule, ScheduleSpec
from rdarts.errors import UserError
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.registry import MIXED_OPS


@MIXED_OPS.register_module()
class DropPath(MixedOp):
    """Drops the mixture of an edge, skip connection and all, for some images in training.

    Each image and edge by itself; what stays is scaled up so that the mean does (ScheduledDropPath
    of NASNet), in the steps of alpha and of the weights alike. So it is in RobustDARTS's published
    search. A derived network (:class:`~rdarts.models.backbones.darts_net.DARTSNet`) drops the
    operations of edges instead, and no skip connection.

    Args:
        prob (float | dict): The probability, constant or a schedule over epochs: see
            :class:`~rdarts.configuration.schedule.Schedule`. RobustDARTS's is p e / (E - 1) in
            epoch e of E, from 0, where it compares p of 0, .2, .4 and .6. Defaults to 0.
        candidates, *args, **kwargs: See :class:`MixedOp`.

    Raises:
        UserError: The probability is not from 0 to below 1.
    """

    def __init__(
        self,
        candidates: Sequence[str] | Sequence[Sequence[str]],
        *args: Any,
        prob: ScheduleSpec = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(candidates, *args, **kwargs)
        schedule = Schedule(prob, name='prob of DropPath', minimum=0.0)
        most = max(value for _, value in schedule.points)
        if most >= 1:
            raise UserError(f'prob of DropPath must be below 1, but is {most:g}')
        self.schedules = dict(prob=schedule)

    def forward_edges(
        self, x: Tensor, mixing: Mixing, into: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """See :meth:`MixedOp.forward_edges`."""
        keep = 1 - self.numbers()['prob']
        if not self.training or keep == 1:
            return super().forward_edges(x, mixing, into)
        outputs = super().forward_edges(x, mixing)
        masks = torch.rand(len(outputs), len(x), 1, 1, 1, device=x.device) < keep
        scales = (masks / keep).to(outputs[0].dtype)
        outputs = [out * scale for out, scale in zip(outputs, scales, strict=True)]
        if into is None:
            return outputs
        return [out if one is None else one + out for one, out in zip(into, outputs, strict=True)]
