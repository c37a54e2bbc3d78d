"""Weights of edges beside those of operations (PC-DARTS, https://arxiv.org/abs/1907.05737)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.configuration.declarations import Component
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.registry import RELAXATIONS, build
from rdarts.search_spaces import CellTopology, EdgeGroup, SearchSpace

SUFFIX = '_edges'


@RELAXATIONS.register_module()
class EdgeWeights(Relaxation):
    """Edge normalisation: the edges into a node are weighted by the softmax of their own alpha.

    Every cell type has a group ``<cell>_edges`` of one number an edge, beside those of another
    relaxation, which mixes the candidates. The edge's weight multiplies the whole result of the
    edge (Eq. 4 of the paper), and discretisations that rank edges rank them by the product of both.
    All groups have one optimizer, as published.

    Args:
        relaxation (str | dict): Of the operations. Defaults to ``'rdarts.Softmax'``.
    """

    def __init__(
        self,
        relaxation: Annotated[str | Mapping[str, Any], Component('RELAXATIONS')] = 'rdarts.Softmax',
    ) -> None:
        super().__init__()
        self.inner: Relaxation = build(relaxation, RELAXATIONS)
        self.sampled, self.no_gradient = self.inner.sampled, self.inner.no_gradient

    def groups(self, space: SearchSpace) -> tuple[EdgeGroup, ...]:
        """See :meth:`Relaxation.groups`."""
        own = [
            EdgeGroup(cell + SUFFIX, cell, tuple(range(len(topology.edges))), ('weight',), 'edge')
            for cell, topology in space.cells.items()
        ]
        return (*self.inner.groups(space), *own)

    def set_progress(self, epoch: int, max_epochs: int) -> None:
        """See :meth:`Relaxation.set_progress`."""
        self.inner.set_progress(epoch, max_epochs)

    def numbers(self) -> dict[str, float]:
        """See :meth:`Relaxation.numbers`."""
        return self.inner.numbers()

    def edge_factors(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.edge_factors`."""
        found = dict(self.inner.edge_factors(arch_parameters, space, phase))
        for cell, topology in space.cells.items():
            factor = self.relax_edges(arch_parameters[cell + SUFFIX][:, 0], topology)
            found[cell] = found[cell] * factor if cell in found else factor
        return found

    def relax_edges(self, alpha: Tensor, topology: CellTopology) -> Tensor:
        """The weights of a cell's edges: by default, a softmax over those into each node.

        Args:
            alpha (Tensor): [edges].
            topology (CellTopology): Nodes and edges.
        """
        rows, found = alpha.unbind(0), {}
        for node in range(topology.num_inputs, topology.num_nodes):
            edges = topology.edges_into(node)
            if edges:
                soft = torch.stack([rows[edge] for edge in edges]).softmax(0)
                found.update(zip(edges, soft.unbind(0), strict=True))
        return torch.stack([found[edge] for edge in range(len(rows))])

    def expected(
        self,
        arch_parameters: Mapping[str, Tensor],
        space: SearchSpace,
        drawn: Mapping[str, Relaxed] | None = None,
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.expected`: the weights of operations alone."""
        return self.inner.expected(arch_parameters, space, drawn)

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor | Relaxed]:
        """See :meth:`Relaxation.forward`."""
        return self.inner(arch_parameters, space, phase)
