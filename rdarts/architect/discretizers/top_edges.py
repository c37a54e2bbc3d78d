"""The rule of DARTS: the strongest edges of every node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from rdarts.architect.discretizers.base import Discretizer, Kept, cells_of
from rdarts.configuration.declarations import Positive
from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype
from rdarts.registry import DISCRETIZERS
from rdarts.search_spaces import SearchSpace


@DISCRETIZERS.register_module()
class TopEdges(Discretizer):
    """For each node the ``k`` edges whose best candidate other than ``none`` weighs most.

    Weights are those that the search's relaxation expects, of the softmax with ``none`` included,
    times the edge's own weight where it has one (PC-DARTS); the edges of a node are listed by
    weight, as the official code lists them, and of a tie the earlier node comes first.

    Args:
        k (int): Edges a node. Defaults to 2.
    """

    def __init__(self, k: Positive = 2) -> None:
        if not isinstance(k, int) or k < 1:
            raise UserError(f'{type(self).__name__}: k must be a positive integer, but is {k!r}')
        self.k = k

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> CellGenotype:
        """See :meth:`Discretizer.__call__`.

        Raises:
            UserError: The space is no space of cells, or a node could read ``none`` alone.
        """
        factors = self.edge_factors(arch_parameters, space)
        return self.of_weights(self.expected(arch_parameters, space), space, factors)

    def of_weights(
        self,
        weights: Mapping[str, Tensor],
        space: SearchSpace,
        factors: Mapping[str, Sequence[float]],
    ) -> CellGenotype:
        """The same of mixing weights.

        Args:
            weights (Mapping[str, Tensor]): Group -> [edges, candidates].
            space (SearchSpace): Describes the groups.
            factors (Mapping[str, Sequence[float]]): Cell type -> the weight of each edge; 1 where
                it is left out.
        """
        rule = type(self).__name__

        def keep(cell: str, node: int, into: list) -> Kept:
            best = []
            for i, edge, choices in into:
                if choices:
                    beta, name = max(choices, key=lambda choice: choice[0])
                    factor = factors[cell][i] if cell in factors else 1.0
                    best.append((beta * factor, name, edge.source))
            if not best:
                raise UserError(
                    f"{rule}: in the space '{space.name}', cell '{cell}': no edge into node "
                    f'{node} has a candidate other than none'
                )
            return sorted(best, key=lambda item: -item[0])[: self.k]

        return cells_of(space, weights, rule, keep)
