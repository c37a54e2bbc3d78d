"""The zero-one loss of FairDARTS (https://arxiv.org/abs/1911.12126)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from rdarts.architect.regularizers.base import Regularizer
from rdarts.configuration.schedule import ScheduleSpec
from rdarts.errors import UserError
from rdarts.registry import REGULARIZERS
from rdarts.search_spaces import SearchSpace


@REGULARIZERS.register_module()
class ZeroOne(Regularizer):
    r"""Pushes the sigmoid of every entry of alpha to 0 or 1 (Eq. 4 of the paper).

    .. math:: R(\alpha) = -\frac1M \sum_{k,o} (\sigma(\alpha_{k,o}) - \tfrac12)^2

    over all M entries of all cell types; ``norm='l1'`` is its Eq. 5, the distance itself. It is
    negative, and 0 where all entries are: there its gradient is 0 too. FairDARTS has lambda 10.

    Args:
        lambda_ (float | dict): See :class:`Regularizer`.
        signed (bool): Likewise.
        norm (str): ``'l2'`` or ``'l1'``. Defaults to ``'l2'``.

    Raises:
        UserError: The norm is not known.
    """

    def __init__(
        self,
        lambda_: ScheduleSpec = 10.0,
        signed: bool = False,
        norm: Literal['l2', 'l1'] = 'l2',
    ) -> None:
        super().__init__(lambda_, signed)
        if norm not in ('l1', 'l2'):
            raise UserError(f"norm of ZeroOne must be 'l1' or 'l2', but is {norm!r}")
        self.norm = norm

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Tensor:
        """See :meth:`Regularizer.__call__`."""
        alpha = torch.cat([arch_parameters[group.name].flatten() for group in space.groups])
        distance = alpha.sigmoid() - 0.5
        return -(distance.square() if self.norm == 'l2' else distance.abs()).mean()
