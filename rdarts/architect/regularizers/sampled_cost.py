"""The cost of what was drawn, above a limit: DSNAS (https://arxiv.org/abs/2002.09128)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rdarts.architect.regularizers.expected_cost import ExpectedCost
from rdarts.configuration.declarations import NotNegative
from rdarts.configuration.schedule import ScheduleSpec
from rdarts.errors import UserError
from rdarts.models.alpha import AlphaOwner
from rdarts.registry import REGULARIZERS
from rdarts.search_spaces import SearchSpace


@REGULARIZERS.register_module()
class SampledCost(ExpectedCost):
    r"""The probabilities of the drawn candidates times their costs, where these exceed a limit.

    With the draw k of an edge e and the costs F,

    .. math:: R = \sum_e p_{e,k} F_{e,k} \quad\text{if}\quad \sum_e F_{e,k} \ge \mathrm{limit},

    else 0: what DSNAS's published code adds to alpha's gradient, with lambda 1e-6 and the limit 290
    (millions of multiply-adds, without stem and head). It goes with relaxations that draw one
    candidate an edge, such as :class:`~rdarts.architect.relaxations.ScoreFunction`; others that run
    beside it have no say.

    Args:
        lambda_ (float | dict): See :class:`ExpectedCost`.
        signed (bool): Likewise.
        limit (float): In the unit of the costs: millions of multiply-adds where the space has no
            table, else the table's own, so that a limit for multiply-adds is another one in ms.
            Defaults to 0.

    Raises:
        UserError: The limit is negative.
    """

    def __init__(
        self, lambda_: ScheduleSpec = 1.0, signed: bool = False, limit: NotNegative = 0.0
    ) -> None:
        super().__init__(lambda_, signed)
        if not limit >= 0:
            raise UserError(f'limit of SampledCost must be 0 or more, but is {limit!r}')
        self.limit = limit

    def prepare(self, owner: AlphaOwner) -> None:
        """See :meth:`Regularizer.prepare`.

        Raises:
            UserError: The relaxation draws no candidates.
        """
        super().prepare(owner)
        if not (owner.relaxation.sampled or self.lambda_.is_zero):
            raise UserError(
                'SampledCost is of the candidates that were drawn, but '
                f'{type(owner.relaxation).__name__} draws none: take a relaxation that does, such '
                'as ScoreFunction, or the regularizer ExpectedCost'
            )

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Tensor:
        """See :meth:`Regularizer.__call__`."""
        weights = self.relaxation.expected(arch_parameters, space)
        table = self.table(space, next(iter(weights.values())))
        mixed = self.owner.mixed
        drawn = {name: (mixed[name].weights != 0) * each for name, each in table.items()}
        cost = sum((weights[name] * each).sum() for name, each in drawn.items())
        sampled = sum(each.sum() for each in drawn.values())
        return torch.where(sampled >= self.limit, cost, 0 * cost)
