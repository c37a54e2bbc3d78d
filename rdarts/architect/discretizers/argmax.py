"""The rule of NAS-Bench-201: the strongest candidate of every edge."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rdarts.architect.discretizers.base import Discretizer, edge_weights, one_operation_an_edge
from rdarts.genotypes import Genotype
from rdarts.registry import DISCRETIZERS
from rdarts.search_spaces import SearchSpace


@DISCRETIZERS.register_module()
class Argmax(Discretizer):
    """The candidate of largest weight on every edge; the first one of a tie.

    Weights are those that the search's relaxation expects: of a softmax, the order of alpha.

    Args:
        allow_none (bool): Whether ``none`` may be derived. Defaults to True, as in the official
            codes (beta-DARTS, AutoDL).
    """

    def __init__(self, allow_none: bool = True) -> None:
        self.allow_none = allow_none

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Genotype:
        """See :meth:`Discretizer.__call__`."""
        return self.of_weights(self.expected(arch_parameters, space), space)

    def of_weights(self, weights: Mapping[str, Tensor], space: SearchSpace) -> Genotype:
        """The same of mixing weights, such as those that a log holds.

        Args:
            weights (Mapping[str, Tensor]): Group -> [edges, candidates].
            space (SearchSpace): Describes the groups.
        """
        choice = {}
        for cell, topology in space.cells.items():
            rows = edge_weights(weights, space, cell)
            choice[cell] = [
                self._strongest(edge.candidates, row)
                for edge, row in zip(topology.edges, rows, strict=True)
            ]
        return one_operation_an_edge(space, choice)

    def _strongest(self, candidates: tuple[str, ...], weights: list[float]) -> str | None:
        if not candidates:  # of a dropped edge
            return None
        allowed = [
            i for i, name in enumerate(candidates) if self.allow_none or name != 'none'
        ] or range(len(candidates))
        return candidates[max(allowed, key=lambda i: weights[i])]
