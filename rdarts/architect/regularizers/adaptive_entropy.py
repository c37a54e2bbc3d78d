"""Adaptive entropy regularisation, AER (DARTS-AER, GDAS-AER, PC-DARTS-AER)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from annotated_types import MinLen
from torch import Tensor

from rdarts.architect.regularizers.base import Regularizer
from rdarts.configuration.schedule import ScheduleSpec
from rdarts.models.operations import check_operations
from rdarts.registry import REGULARIZERS
from rdarts.search_spaces import SearchSpace

TINY = 1e-9  # within the logarithm, as published


@REGULARIZERS.register_module()
class AdaptiveEntropy(Regularizer):
    r"""The mean entropy of the softmax of alpha, in bits, with a factor that changes its sign.

    .. math:: R(\alpha) = -\frac1N \sum_k \sum_o \beta_{k,o} \log_2(\beta_{k,o} + 10^{-9})

    The factor is c(e) = -.2 cos(pi e / E): entropy is raised in the first half of a search of E
    epochs and lowered in the second: ``dict(points=[(0, -.2), (E, .2)],
    interpolation='cosine')``, from the first epoch in which alpha moves on.

    Published codes leave ``none`` out before the softmax in the DARTS space (``leave_out``), and
    not in NAS-Bench-201. (P-DARTS-AER leaves out the first candidate that survives, whatever it
    is.)

    Args:
        lambda_ (float | dict): See :class:`Regularizer`.
        signed (bool): Likewise. Defaults to True.
        leave_out (Sequence[str]): Candidates that have no say. Defaults to none.

    Raises:
        UserError: No operation has a name of ``leave_out``.
    """

    def __init__(
        self,
        lambda_: ScheduleSpec = 1.0,
        signed: bool = True,
        leave_out: Annotated[Sequence[str], MinLen(0)] = (),
    ) -> None:
        super().__init__(lambda_, signed)
        check_operations(leave_out, 'leave_out of AdaptiveEntropy')
        self.leave_out = frozenset(leave_out)

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Tensor:
        """See :meth:`Regularizer.__call__`."""
        rows = []
        for group in space.groups:
            names = enumerate(group.candidates)
            kept = [k for k, name in names if name not in self.leave_out]
            alpha = arch_parameters[group.name]
            if not kept:  # nothing is left to choose
                rows.append(alpha.sum(-1) * 0)
                continue
            if len(kept) < len(group.candidates):
                # an index would be copied to the device in each step of alpha
                alpha = torch.cat([alpha[:, k : k + 1] for k in kept], -1)
            beta = alpha.softmax(-1)
            rows.append(-(beta * torch.log2(beta + TINY)).sum(-1))
        return torch.cat(rows).mean()
