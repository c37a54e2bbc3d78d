"""What every discretisation rule is: a map from alpha to a genotype."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rdarts.architect.relaxations import Relaxation, Softmax
from rdarts.genotypes import CellGenotype, Genotype, LayerwiseGenotype, NASBench201Genotype
from rdarts.search_spaces import SearchSpace


class Discretizer:
    """A rule that derives a genotype. A method overrides :meth:`__call__`.

    Attributes:
        relaxation (Relaxation): By which alpha stands for mixing weights. A search sets its own;
            until then it is the softmax.
    """

    relaxation: Relaxation = Softmax()

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Genotype:
        """Derive the genotype.

        Args:
            arch_parameters (Mapping[str, Tensor]): Raw alpha: group -> [edges, candidates].
            space (SearchSpace): Describes the groups.
        """
        raise TypeError(f'{type(self).__name__} does not override __call__')

    def expected(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace
    ) -> dict[str, Tensor]:
        """The mixing weights of alpha: group -> [edges, candidates], float64 on the CPU."""
        return self.relaxation.expected_weights(arch_parameters, space)


def edge_weights(weights: Mapping[str, Tensor], space: SearchSpace, cell: str) -> list[list[float]]:
    """Of every edge of a cell, the weights of its candidates, as numbers."""
    return [weights[group][row].tolist() for group, row in space.slots(cell)]


def one_operation_an_edge(space: SearchSpace, choice: Mapping[str, list[str]]) -> Genotype:
    """The genotype that keeps every edge, in the form of its space.

    Args:
        space (SearchSpace): The space.
        choice (Mapping[str, list[str]]): For each cell type the operation of each edge.
    """
    if space.genotype == 'nas_bench_201':
        ((_, ops),) = choice.items()
        return NASBench201Genotype(tuple(ops), space.name)
    if space.genotype == 'layerwise':
        return LayerwiseGenotype(space.name, tuple(choice['layerwise']))
    nodes, concat = {}, {}
    for cell, topology in space.cells.items():
        inner = range(topology.num_inputs, topology.num_nodes)
        nodes[cell] = tuple(
            tuple((choice[cell][i], topology.edges[i].source) for i in topology.edges_into(node))
            for node in inner
        )
        concat[cell] = tuple(inner) if topology.output == 'concat' else (inner[-1],)
    return CellGenotype(space.name, nodes, concat)
