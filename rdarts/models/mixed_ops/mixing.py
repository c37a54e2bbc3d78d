"""What a mixed operation is told: the weights of its candidates, and which of them run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Relaxed(NamedTuple):
    """What a relaxation makes of a group of alpha.

    Args:
        weights (Tensor): Mixing weights, [edges, candidates].
        active (Tensor, optional): Which candidates run whatever their weight, bool, [edges,
            candidates]: the gradient of a weight of 0 may be needed, and a candidate of weight 0
            may not run. Defaults to all; of a relaxation that is ``sampled``, to those whose
            weight is not exactly 0.
        constant (bool): Whether the weight of a candidate that does not run is added to the edge's
            result as a number: see :class:`Mixing`.
        resting (Tensor, optional): The edges whose alpha rests in a step that draws this, bool,
            [edges]: it has no gradient, and neither it nor the state of its optimizer moves, for
            an architect that steps edge by edge. Defaults to none.
    """

    weights: Tensor
    active: Tensor | None = None
    constant: bool = False
    resting: Tensor | None = None


class Mixing(NamedTuple):
    """How the candidates of the edges that leave one node are mixed.

    Args:
        weights (Tensor): The mixing weights beta of the first edge's candidates, then of the
            second's, ...: [T].
        active (Sequence[Sequence[int]], optional): The candidates of each edge that run, by their
            place in the edge's list; no other is computed. Defaults to all.
        edge_factor (Tensor, optional): By which the result of each edge is multiplied, [edges].
            Defaults to none.
        constant (bool): Whether the weights of candidates that do not run are added to the edge's
            result, a number each, as GDAS's published code does it. They are 0 in value; what
            they get is a gradient, the sum of the result's.
    """

    weights: Tensor
    active: Sequence[Sequence[int]] | None = None
    edge_factor: Tensor | None = None
    constant: bool = False

    @classmethod
    def of(cls, weights: Sequence[Tensor], sampled: bool = False) -> Mixing:
        """The same of one [candidates] for each edge.

        Args:
            weights (Sequence[Tensor]): The mixing weights of each edge.
            sampled (bool): Whether only candidates run whose weight is not exactly 0. Reads the
                weights on the host. Defaults to False.
        """
        active = None
        if sampled:
            active = [[k for k, beta in enumerate(edge.tolist()) if beta] for edge in weights]
        return cls(torch.cat(list(weights)), active)

    def by_edge(self, sizes: Sequence[int]) -> Sequence[Tensor]:
        """The weights of each edge, of which ``sizes`` has the number of candidates."""
        return self.weights.split(list(sizes))

    def folded(self, sizes: Sequence[int]) -> Mixing:
        """The same with the factor of each edge multiplied into its weights.

        Args:
            sizes (Sequence[int]): The number of candidates of each edge.
        """
        if self.edge_factor is None:
            return self
        pairs = zip(self.by_edge(sizes), self.edge_factor.unbind(0), strict=True)
        weights = torch.cat([beta * factor for beta, factor in pairs])
        return self._replace(weights=weights, edge_factor=None)
