"""What every discretisation rule is: a map from alpha to a genotype."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rdarts.architect.relaxations import Relaxation, Softmax
from rdarts.genotypes import Genotype, form_named
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

    def edge_factors(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace
    ) -> dict[str, list[float]]:
        """Weights of edges, where a method has them: cell type -> a number an edge."""
        alphas = {name: alpha.detach().double().cpu() for name, alpha in arch_parameters.items()}
        factors = self.relaxation.edge_factors(alphas, space, 'eval')
        return {cell: factor.tolist() for cell, factor in factors.items()}


def edge_weights(weights: Mapping[str, Tensor], space: SearchSpace, cell: str) -> list[list[float]]:
    """Of every edge of a cell, the weights of its candidates, as numbers."""
    return [weights[group][row].tolist() for group, row in space.slots(cell)]


def one_operation_an_edge(space: SearchSpace, choice: Mapping[str, list[str]]) -> Genotype:
    """The genotype that keeps every edge, in the form of its space.

    Args:
        space (SearchSpace): The space.
        choice (Mapping[str, list[str]]): For each cell type the operation of each edge.
    """
    return form_named(space.genotype).of_edges(space, choice)
