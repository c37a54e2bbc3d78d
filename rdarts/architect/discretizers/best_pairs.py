"""The rule of DOTS (https://arxiv.org/abs/2010.00969)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rdarts.architect.discretizers.base import Discretizer, Kept, cells_of
from rdarts.architect.relaxations.edge_pairs import EdgePairs, pairs_by_node
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import DISCRETIZERS
from rdarts.search_spaces import SearchSpace


@DISCRETIZERS.register_module()
class BestPairs(Discretizer):
    """For each node the pair of edges that weighs most, each edge with its best candidate.

    The candidate is the one of largest weight other than ``none``, of a tie the first, and so is
    the pair, of those whose edges both have such a candidate. A node that one edge leads into keeps
    it. Weights are those of the relaxation
    :class:`~rdarts.architect.relaxations.edge_pairs.EdgePairs`; the published code takes the
    balance of candidates at another temperature here than in the network, which has the same
    order.
    """

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Genotype:
        """See :meth:`Discretizer.__call__`.

        Raises:
            UserError: The relaxation has no weights of pairs, the space is no space of cells, or a
                node could read ``none`` alone.
        """
        if not isinstance(self.relaxation, EdgePairs):
            raise UserError(
                "BestPairs keeps pairs of edges: set model.backbone.relaxation='rdarts.EdgePairs', "
                f'in place of {type(self.relaxation).__name__}'
            )
        alphas = {name: alpha.detach().double().cpu() for name, alpha in arch_parameters.items()}
        weights = self.relaxation.pair_weights(alphas, space)

        def keep(cell: str, node: int, into: list) -> Kept:
            best = {
                i: (*max(choices, key=lambda choice: choice[0]), edge.source)
                for i, edge, choices in into
                if choices
            }
            pairs = pairs_by_node(space.cells[cell]).get(node, [])
            ranked = zip(pairs, weights[cell][node].tolist() if pairs else [], strict=True)
            open_ = [(pair, weight) for pair, weight in ranked if best.keys() >= set(pair)]
            if open_:
                return [best[i] for i in max(open_, key=lambda item: item[1])[0]]
            if pairs or not best:
                raise UserError(
                    f"BestPairs: in the space '{space.name}', cell '{cell}': node {node} has no "
                    'two edges with a candidate other than none'
                )
            return list(best.values())

        return cells_of(space, self.expected(arch_parameters, space), 'BestPairs', keep)
