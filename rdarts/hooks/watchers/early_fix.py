"""Edges that are decided early: DSNAS (https://arxiv.org/abs/2002.09128)."""

from __future__ import annotations

from mmengine.hooks import Hook

from rdarts.architect.discretizers.base import edge_weights
from rdarts.configuration.declarations import Inside
from rdarts.errors import UserError
from rdarts.models.alpha import find_alpha_owner
from rdarts.registry import HOOKS
from rdarts.utils.wording import plural


@HOOKS.register_module()
class EarlyFixHook(Hook):
    """Before an epoch, an edge whose strongest candidate is far ahead keeps that one alone.

    An edge is fixed where the largest weight that its relaxation expects is at least ``threshold``
    more than the second. Its other candidates are pruned: they run no more, and the edge is not
    drawn any longer. The published code overwrites the draw and puts the edge's alpha back at the
    start of each epoch, to the same effect.

    Args:
        threshold (float): Inside (0, 1). Defaults to .3, as published.

    Raises:
        UserError: The threshold is outside (0, 1).
    """

    priority = 'NORMAL'

    def __init__(self, threshold: Inside = 0.3) -> None:
        number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
        if not number or not 0 < threshold < 1:
            raise UserError(
                f'EarlyFixHook: threshold must be between 0 and 1, but is {threshold!r}'
            )
        self.threshold = threshold

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """See mmengine. An epoch that is resumed within does not begin anew."""
        if batch_idx:
            return
        owner = find_alpha_owner(runner.model)
        weights, fixed, edges = owner.expected_weights(), 0, 0
        for cell, topology in owner.space.cells.items():
            rows = edge_weights(weights, owner.space, cell)
            for index, (edge, row) in enumerate(zip(topology.edges, rows, strict=True)):
                alive = [k for k, flag in enumerate(owner.alive[cell][index]) if flag]
                edges += 1
                if len(alive) > 1:
                    first, second, *_ = sorted(alive, key=lambda k, row=row: -row[k])
                    if row[first] - row[second] < self.threshold:
                        continue
                    others = [edge.candidates[k] for k in alive if k != first]
                    owner.prune(cell, index, others)
                    name = f'{cell}, {edge.source} -> {edge.target}'
                    runner.logger.info(f'edge {name} is fixed to {edge.candidates[first]}')
                fixed += 1
        if fixed == edges:
            runner.logger.info(f'all {plural(edges, "edge")} are fixed')
