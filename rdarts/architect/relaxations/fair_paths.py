"""Every candidate of an edge equally often: FairNAS (https://arxiv.org/abs/1907.01845)."""

from __future__ import annotations

import torch

from rdarts.architect.relaxations.single_path import SinglePath, one_path
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import SearchSpace


@RELAXATIONS.register_module()
class FairPaths(SinglePath):
    """Of an edge's m candidates, each runs in exactly one of the m passes of a step.

    The candidates of each edge are taken in a random order, without replacement, so that m paths
    have all of them (strict fairness); the gradients of the m passes add up to those of one step.
    Where edges differ in their candidates, m is that of the edge that has most, and an edge of
    fewer begins again in another order.

    The paper has chains of layers. In cells, every edge runs in each pass, as fairness of the
    candidates asks for it, so that a node of the DARTS space sums up all edges that lead to it,
    and two in the networks that are derived.
    """

    def passes(self, space: SearchSpace) -> int:
        """See :meth:`SinglePath.passes`: m."""
        return max(len(group.candidates) for group in space.groups)

    def draws(self, space: SearchSpace) -> list[dict[str, Relaxed]]:
        """See :meth:`SinglePath.draws`."""
        found: list[dict[str, Relaxed]] = [{} for _ in range(self.passes(space))]
        for group in space.groups:
            count = len(group.candidates)
            rounds = -(-len(found) // count)
            orders = torch.stack(
                [torch.cat([torch.randperm(count) for _ in range(rounds)]) for _ in group.edges]
            )
            for chosen, draw in zip(orders.unbind(1), found, strict=False):
                counts = torch.nn.functional.one_hot(chosen, count)
                draw[group.name] = one_path(counts, self.like)
        return found
