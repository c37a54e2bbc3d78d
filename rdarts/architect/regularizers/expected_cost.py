"""The cost that the mixing weights stand for (ProxylessNAS, https://arxiv.org/abs/1812.00332)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from rdarts.architect.regularizers.base import Regularizer
from rdarts.configuration.declarations import AboveZero
from rdarts.configuration.schedule import ScheduleSpec
from rdarts.errors import UserError
from rdarts.models.alpha import AlphaOwner
from rdarts.models.backbones.candidate_costs import EQUAL, Costs
from rdarts.registry import REGULARIZERS
from rdarts.search_spaces import SearchSpace


@REGULARIZERS.register_module()
class ExpectedCost(Regularizer):
    r"""The expected cost of the network that alpha describes.

    With the mixing weights :math:`\beta` that the search's relaxation expects of alpha, of the
    softmax :math:`\mathrm{softmax}(\alpha)`, and the cost F of every candidate on every edge,

    .. math:: E = \sum_e \sum_o \beta_{e,o} F_{e,o}

    in the unit of the space's table (ms, or millions of multiply-adds), all cells of a type
    together: ProxylessNAS's expected latency (Eq. 5), which it adds to the loss (Eq. 6). The table
    belongs to the space: ``space=dict(type='mobilenet_like', costs=FILE)``, where
    ``tools/benchmarks/cost_table.py`` writes FILE. Where a space has none, E is in millions of
    multiply-adds, which are counted for the supernet and its images.

    With a ``reference`` it is (E - reference) / reference, by which lambda is the same in any unit:
    ``add#linear`` of ProxylessNAS's published code, where lambda is .1. ``mul#log``, the default of
    its scripts, is :class:`CostFactor`.

    Args:
        lambda_ (float | dict): In nats for each unit, or for a cost as large again as the
            reference; see :class:`Regularizer`.
        signed (bool): Likewise.
        drawn (bool): Whether beta is of what alpha's step drew, where alpha has a say in it: of the
            candidates that ran, or with the noise of the draw. Defaults to False.
        reference (float | str, optional): A cost, or ``'equal'`` for that of equal weights.
            Defaults to none.

    Raises:
        UserError: The reference is neither a number above 0 nor ``'equal'``.
    """

    def __init__(
        self,
        lambda_: ScheduleSpec = 1.0,
        signed: bool = False,
        drawn: bool = False,
        reference: AboveZero | Literal['equal'] | None = None,
    ) -> None:
        super().__init__(lambda_, signed)
        number = isinstance(reference, (int, float)) and not isinstance(reference, bool)
        if reference not in (None, EQUAL) and not (number and reference > 0):
            raise UserError(
                f"reference of {type(self).__name__} must be a cost above 0 or 'equal', but is "
                f'{reference!r}'
            )
        self.drawn, self.reference = drawn, reference
        self.owner: AlphaOwner | None = None
        self._costs = Costs()

    def prepare(self, owner: AlphaOwner) -> None:
        """See :meth:`Regularizer.prepare`."""
        super().prepare(owner)
        self.owner, self._costs = owner, Costs(owner)

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Tensor:
        """See :meth:`Regularizer.__call__`.

        Raises:
            UserError: The space has no costs, and they cannot be counted.
        """
        cost, reference = self.costs(arch_parameters, space)
        return cost if reference is None else (cost - reference) / reference

    def costs(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace
    ) -> tuple[Tensor, Tensor | float | None]:
        """E and the reference, in the unit of the costs.

        Args:
            arch_parameters, space: See :meth:`__call__`.
        """
        draw = (self.owner.mixed,) if self.drawn and self.owner is not None else ()
        weights = self.relaxation.expected(arch_parameters, space, *draw)
        table = self.table(space, next(iter(weights.values())))
        cost = sum((weights[name] * each).sum() for name, each in table.items())
        if self.reference == EQUAL:
            return cost, sum(each.mean(-1).sum() for each in table.values())
        return cost, self.reference

    def table(self, space: SearchSpace, like: Tensor) -> dict[str, Tensor]:
        """The costs of each group, [edges, candidates], which are kept until some are pruned.

        Args:
            space (SearchSpace): Of what is alive.
            like (Tensor): Of their type and device.
        """
        return self._costs.of(space, like)
