"""The cost of what was drawn, above a limit: DSNAS (https://arxiv.org/abs/2002.09128)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rdarts.architect.regularizers.expected_cost import ExpectedCost
from rdarts.configuration.declarations import NotNegative
from rdarts.configuration.schedule import ScheduleSpec
from rdarts.errors import UserError
from rdarts.registry import REGULARIZERS
from rdarts.search_spaces import SearchSpace


@REGULARIZERS.register_module()
class SampledCost(ExpectedCost):
    r"""The probabilities of the drawn candidates times their costs, where these exceed a limit.

    With the draw k of an edge e and the costs F,

    .. math:: R = \sum_e p_{e,k} F_{e,k} \quad\text{if}\quad \sum_e F_{e,k} \ge \mathrm{limit},

    else 0: what DSNAS's published code adds to alpha's gradient, with lambda 1e-6 and the limit 290
    (millions of multiply-adds, without stem and head). It goes with the relaxation
    :class:`~rdarts.architect.relaxations.ScoreFunction`.

    Args:
        lambda_ (float | dict): See :class:`ExpectedCost`.
        signed (bool): Likewise.
        limit (float): In the unit of the costs. Defaults to 0.

    Raises:
        UserError: The limit is negative.
    """

    def __init__(
        self, lambda_: ScheduleSpec = 1.0, signed: bool = False, limit: NotNegative = 0.0
    ) -> None:
        super().__init__(lambda_, signed, drawn=True)
        if not limit >= 0:
            raise UserError(f'limit of SampledCost must be 0 or more, but is {limit!r}')
        self.limit = limit

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Tensor:
        """See :meth:`Regularizer.__call__`."""
        cost, _ = self.costs(arch_parameters, space)
        table = self.table(space, cost)
        drawn = self.owner.mixed
        sampled = sum((drawn[name].active * each).sum() for name, each in table.items())
        return torch.where(sampled >= self.limit, cost, 0 * cost)
