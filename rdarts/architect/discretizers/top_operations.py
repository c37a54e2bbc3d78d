"""The rule of IS-DARTS in the DARTS space (https://arxiv.org/abs/2312.12648)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rdarts.architect.discretizers.base import Discretizer, Kept, cells_of
from rdarts.configuration.declarations import Positive
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import DISCRETIZERS
from rdarts.search_spaces import SearchSpace


@DISCRETIZERS.register_module()
class TopOperations(Discretizer):
    """For each node the ``k`` candidates other than ``none`` that weigh most, of all its edges.

    Several may be of one edge. Weights are those that the search's relaxation expects, times the
    edge's own where it has one; it must be one whose weights can be compared over the edges of a
    node, as those of :class:`~rdarts.architect.relaxations.equal_weights.EqualWeights` and
    ``Sigmoid``. They are listed by edge, then in the order of candidates, and of a tie the earlier
    one is taken. A node that has fewer candidates left keeps these.

    Args:
        k (int): Candidates a node. Defaults to 2.

    Raises:
        UserError: ``k`` is no positive integer.
    """

    def __init__(self, k: Positive = 2) -> None:
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise UserError(f'TopOperations: k must be a positive integer, but is {k!r}')
        self.k = k

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Genotype:
        """See :meth:`Discretizer.__call__`.

        Raises:
            UserError: The space is no space of cells.
        """
        factors = self.edge_factors(arch_parameters, space)

        def keep(cell: str, node: int, into: list) -> Kept:
            found: list[tuple[float, str, int]] = []
            for i, edge, choices in into:
                factor = factors[cell][i] if cell in factors else 1.0
                found += [(beta * factor, name, edge.source) for beta, name in choices]
            best = sorted(range(len(found)), key=lambda place: -found[place][0])[: self.k]
            return [found[place] for place in sorted(best)]

        return cells_of(space, self.expected(arch_parameters, space), 'TopOperations', keep)
