"""Sigmoids of operations and edges, and binary gates of two paths (FP-DARTS, Pattern Recognition
136, 109193)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from rdarts.architect.relaxations.edge_weights import EdgeWeights
from rdarts.configuration.declarations import Component
from rdarts.models.alpha_ways import as_relaxed
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.models.mixed_ops.two_paths import BOTH, path_of
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import CellTopology, EdgeGroup, SearchSpace


@RELAXATIONS.register_module()
class PathGates(EdgeWeights):
    """sigmoid(alpha) for each operation and each edge; which of an edge's two paths runs is drawn.

    It goes with the mixed operation :class:`~rdarts.models.mixed_ops.two_paths.TwoPaths`. The gate
    of an edge is path 0, path 1 or both, with equal probability, so that at most one path is
    dropped: its candidates do not run, and their alphas have no gradient. Each forward in training
    draws anew, as the abstract says it; that all cells of a type draw alike is ours. In evaluation,
    and where weights are expected, both paths run. The published code draws once, when the network
    is made: ``draw=False`` with ``TwoPaths(fixed_gates=True)``.

    Args:
        relaxation (str | dict): Of the operations. Defaults to ``'rdarts.Sigmoid'``.
        draw (bool): Whether gates are drawn here. Defaults to True.
    """

    def __init__(
        self,
        relaxation: Annotated[str | Mapping[str, Any], Component('RELAXATIONS')] = 'rdarts.Sigmoid',
        draw: bool = True,
    ) -> None:
        super().__init__(relaxation)
        self.draw = draw
        self.sampled = True  # a path that is dropped leaves its parameters without a gradient
        self._whole = self._seen = None
        self._paths: dict[tuple[str, torch.device], Tensor] = {}

    def groups(self, space: SearchSpace) -> tuple[EdgeGroup, ...]:
        """See :meth:`Relaxation.groups`."""
        self._whole = space
        return super().groups(space)

    def relax_edges(self, alpha: Tensor, topology: CellTopology) -> Tensor:
        """See :meth:`EdgeWeights.relax_edges`."""
        return alpha.sigmoid()

    def gates(self, edges: int, device: torch.device) -> Tensor:
        """A draw of 0, 1 or both for each edge, [edges]."""
        return torch.randint(BOTH + 1, (edges,), device=device)

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor | Relaxed]:
        """See :meth:`Relaxation.forward`."""
        found = super().forward(arch_parameters, space, phase)
        if phase == 'eval' or not self.draw:
            return found
        for group in space.groups:
            relaxed = as_relaxed(found[group.name], self.inner.sampled)
            device = relaxed.weights.device
            gate = self.gates(len(group.edges), device)[:, None]
            active = (gate == BOTH) | (gate == self._paths_of(group, space, device))
            if relaxed.active is not None:
                active &= relaxed.active
            found[group.name] = relaxed._replace(active=active)
        return found

    def _paths_of(self, group: EdgeGroup, space: SearchSpace, device: torch.device) -> Tensor:
        """The path of each candidate of a group, [edges, candidates], kept until the space changes.

        The space may lack candidates that were pruned: the path of the others is as it was.
        """
        if space is not self._seen:
            self._seen, self._paths = space, {}
        key = (group.name, device)
        if key not in self._paths:
            edges = (self._whole or space).cells[group.cell].edges
            whole = [edges[edge].candidates for edge in group.edges]
            rows = [[path_of(names.index(one)) for one in group.candidates] for names in whole]
            self._paths[key] = torch.tensor(rows, device=device)
        return self._paths[key]
