"""The cost that the mixing weights stand for (ProxylessNAS, https://arxiv.org/abs/1812.00332)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rdarts.architect.regularizers.base import Regularizer
from rdarts.errors import UserError
from rdarts.registry import REGULARIZERS
from rdarts.search_spaces import SearchSpace


@REGULARIZERS.register_module()
class ExpectedCost(Regularizer):
    r"""The expected cost of the network that alpha describes.

    With the mixing weights :math:`\beta` that the search's relaxation expects of alpha, of the
    softmax :math:`\mathrm{softmax}(\alpha)`, and the cost F of every candidate on every edge,

    .. math:: \sum_e \sum_o \beta_{e,o} F_{e,o}

    in the unit of the space's table (ms, or millions of multiply-adds): ProxylessNAS's expected
    latency. The table belongs to the space: ``space=dict(type='mobilenet_like', costs=FILE)``,
    where ``tools/benchmarks/cost_table.py`` writes FILE. A config over another says
    ``space=dict(_delete_=True, ...)``.

    Args:
        lambda_ (float | dict): In nats for each unit; see :class:`Regularizer`.
    """

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Tensor:
        """See :meth:`Regularizer.__call__`.

        Raises:
            UserError: The space has no costs.
        """
        if space.costs is None:
            raise UserError(
                f"ExpectedCost: the space '{space.name}' has no costs: give it a table, which "
                'tools/benchmarks/cost_table.py writes, in a config: '
                "space=dict(_delete_=True, type='mobilenet_like', costs='costs.json')"
            )
        weights = self.relaxation.expected(arch_parameters, space)
        total = 0.0
        for group in space.groups:
            beta = weights[group.name]
            costs = [space.costs[group.cell][edge] for edge in group.edges]
            total = total + (beta * beta.new_tensor(costs)).sum()
        return total
