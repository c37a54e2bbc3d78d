"""What every discretisation rule is: a map from alpha to a genotype."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from rdarts.architect.relaxations import Relaxation, Softmax
from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, Genotype, form_named
from rdarts.models.alpha import AlphaOwner
from rdarts.registry import DISCRETIZERS, build
from rdarts.search_spaces import Edge, SearchSpace


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

    def others(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace
    ) -> dict[str, Genotype]:
        """Further genotypes of the same alpha, of which a user may retrain another.

        They are written once a search has ended, ``genotypes/<name>.json`` each.

        Args:
            arch_parameters, space: See :meth:`__call__`.

        Returns:
            dict[str, Genotype]: By name; none by default.
        """
        return {}

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


def rule_of(owner: AlphaOwner, given: str | Mapping[str, Any] | None = None) -> Discretizer:
    """The rule of a search, which has been tried on its alpha.

    Args:
        owner (AlphaOwner): Of alpha.
        given (str | dict, optional): What a config names. Defaults to the space's own.

    Raises:
        UserError: It is not known, or does not fit the space.
    """
    rule = build(given or owner.space.discretizer, DISCRETIZERS)
    rule.relaxation = owner.relaxation
    rule(*owner.view())
    return rule


Kept = Sequence[tuple[float, str, int]]
"""Weight, operation and source of edges that a rule keeps."""


def cells_of(
    space: SearchSpace,
    weights: Mapping[str, Tensor],
    rule: str,
    keep: Callable[[str, int, list[tuple[int, Edge, list[tuple[float, str]]]]], Kept],
) -> CellGenotype:
    """The genotype of a rule that decides node by node.

    Args:
        space (SearchSpace): The space.
        weights (dict[str, Tensor]): Group -> [edges, candidates].
        rule (str): The rule's name, for an error.
        keep (Callable): Given a cell type, a node, and of each edge into it index, edge, and the
            weights and names of its candidates other than ``none``: what is kept, in order.

    Raises:
        UserError: The space is no space of cells.
    """
    if space.genotype != 'cell':
        raise UserError(f"{rule} does not fit the space '{space.name}': use 'Argmax'")
    nodes, concat = {}, {}
    for cell, topology in space.cells.items():
        betas = edge_weights(weights, space, cell)
        inner = range(topology.num_inputs, topology.num_nodes)
        kept = []
        for node in inner:
            into = []
            for i in topology.edges_into(node):
                pairs = zip(betas[i], topology.edges[i].candidates, strict=True)
                into.append((i, topology.edges[i], [p for p in pairs if p[1] != 'none']))
            kept.append(tuple((name, source) for _, name, source in keep(cell, node, into)))
        nodes[cell] = tuple(kept)
        concat[cell] = tuple(inner) if topology.output == 'concat' else (inner[-1],)
    return CellGenotype(space.name, nodes, concat)


def edge_weights(weights: Mapping[str, Tensor], space: SearchSpace, cell: str) -> list[list[float]]:
    """Of every edge of a cell, the weights of its candidates, as numbers; none of a dropped one."""
    slots = space.slots(cell)
    return [[] if slot is None else weights[slot[0]][slot[1]].tolist() for slot in slots]


def one_operation_an_edge(space: SearchSpace, choice: Mapping[str, list[str | None]]) -> Genotype:
    """The genotype that keeps every edge but those that were dropped, in the form of its space.

    Args:
        space (SearchSpace): The space.
        choice (Mapping[str, list[str | None]]): For each cell type the operation of each edge;
            None of a dropped one.
    """
    return form_named(space.genotype).of_edges(space, choice)
