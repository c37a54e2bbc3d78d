"""The rule of P-DARTS (https://arxiv.org/abs/1904.12760): at most so many skip connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from rdarts.architect.discretizers.top_edges import TopEdges
from rdarts.configuration.declarations import Count, Positive
from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype
from rdarts.registry import DISCRETIZERS
from rdarts.search_spaces import SearchSpace

SKIP = 'skip_connect'


@DISCRETIZERS.register_module()
class LimitedSkips(TopEdges):
    """The rule of DARTS with no more than ``skips`` skip connections in a cell.

    For each node the ``k`` edges whose best candidate other than ``none`` weighs most, as
    :class:`TopEdges` keeps them. While a cell holds more than ``skips`` skip connections, the one
    of them that weighs least, of a tie the earlier edge's, weighs 0 from then on, and operations
    and edges are chosen again, as published; nothing is renormalised. Where a node could not have
    another input, its skip connection stays, so that a cell of too few other candidates holds more.

    Beside the genotype, one for each limit from ``most`` down to 0 is written,
    ``genotypes/skips_<limit>.json``; P-DARTS's code prints them.

    Args:
        skips (int): The limit. Defaults to 2, the paper's choice.
        most (int): The largest limit of those beside it. Defaults to 8, as published: two edges of
            each of four nodes.
        cells (Sequence[str]): The cell types. Defaults to the normal cell, as published.
        k (int): Edges a node. Defaults to 2.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(
        self,
        skips: Count = 2,
        most: Count = 8,
        cells: Sequence[str] = ('normal',),
        k: Positive = 2,
    ) -> None:
        super().__init__(k)
        for name, number in (('skips', skips), ('most', most)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise UserError(
                    f'LimitedSkips: {name} must be an integer, 0 or more, but is {number!r}'
                )
        self.skips, self.most, self.cells = skips, most, tuple(cells)

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> CellGenotype:
        """See :meth:`Discretizer.__call__`.

        Raises:
            UserError: The space is no space of cells, has no cell of such a name, or a node could
                read ``none`` alone.
        """
        return self._within(self.skips, arch_parameters, space)

    def others(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace
    ) -> dict[str, CellGenotype]:
        """See :meth:`Discretizer.others`."""
        return {
            f'skips_{limit}': self._within(limit, arch_parameters, space)
            for limit in range(self.most, -1, -1)
        }

    def _within(
        self, limit: int, arch_parameters: Mapping[str, Tensor], space: SearchSpace
    ) -> CellGenotype:
        """The genotype of a limit."""
        for cell in self.cells:
            if cell not in space.cells:
                raise UserError(
                    f"LimitedSkips: cells has '{cell}', but those of the space '{space.name}' are "
                    f'{", ".join(space.cells)}'
                )
        expected = self.expected(arch_parameters, space)
        weights = {name: weight.clone() for name, weight in expected.items()}
        factors = self.edge_factors(arch_parameters, space)
        found = self.of_weights(weights, space, factors)
        for cell in self.cells:
            skips = _kept_skips(found, space, cell)
            while len(skips) > limit:
                left = [place for place in skips if weights[place[0]][place[1:]] > 0]
                if not left:
                    break
                group, *entry = min(left, key=lambda place: float(weights[place[0]][place[1:]]))
                weights[group][tuple(entry)] = 0
                found = self.of_weights(weights, space, factors)
                skips = _kept_skips(found, space, cell)
        return found


def _kept_skips(
    genotype: CellGenotype, space: SearchSpace, cell: str
) -> list[tuple[str, int, int]]:
    """Of the skip connections of a cell, in edge order, the group, row and column of alpha."""
    topology = space.cells[cell]
    return [
        (*slot, edge.candidates.index(SKIP))
        for edge, slot in zip(topology.edges, space.slots(cell), strict=True)
        # an edge that was dropped has none
        if slot is not None
        and (SKIP, edge.source) in genotype.nodes[cell][edge.target - topology.num_inputs]
    ]
