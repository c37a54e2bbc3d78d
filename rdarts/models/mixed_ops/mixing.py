"""What a mixed operation is told: the weights of its candidates, and which of them run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Mixing(NamedTuple):
    """How the candidates of the edges that leave one node are mixed.

    Args:
        weights (Tensor): The mixing weights beta of the first edge's candidates, then of the
            second's, ...: [T].
        active (Sequence[Sequence[int]], optional): The candidates of each edge that run, by their
            place in the edge's list; no other is computed. Defaults to all.
    """

    weights: Tensor
    active: Sequence[Sequence[int]] | None = None

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
