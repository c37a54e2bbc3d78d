"""All candidates alike: IS-DARTS (https://arxiv.org/abs/2312.12648)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.errors import UserError
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import EdgeGroup, SearchSpace


@RELAXATIONS.register_module()
class EqualWeights(Relaxation):
    r"""Each candidate that is alive weighs 1 / n, whatever alpha is.

    Alpha, which then has no gradient through the network, is minus the logarithm of a score s of
    each candidate, of which a small one is good:
    :class:`~rdarts.architect.architects.importance.ImportanceShrinking` writes it. What it stands
    for (:meth:`expected`) is a candidate's share of what it is good for, 1 / s, in the sum over all
    candidates that are alive on the edges into its node: :math:`e^\alpha / \sum e^\alpha`.

    Args:
        of (str): What n counts: the candidates that the edge has ``'alive'``, or all that it has in
            the ``'space'``, ``none`` and pruned ones included, so that an edge adds less and less
            as it is pruned. Defaults to ``'alive'``.

    Raises:
        UserError: ``of`` is neither.
    """

    prunes = True
    no_gradient = (
        'all candidates weigh alike, whatever alpha is: set '
        "default_hooks.architect.architect.type='rdarts.ImportanceShrinking'"
    )

    def __init__(self, of: Literal['alive', 'space'] = 'alive') -> None:
        super().__init__()
        if of not in ('alive', 'space'):
            raise UserError(f"of of EqualWeights must be 'alive' or 'space', but is {of!r}")
        self.of = of

    def groups(self, space: SearchSpace) -> tuple[EdgeGroup, ...]:
        """See :meth:`Relaxation.groups`."""
        self._counts = {
            cell: [len(edge.candidates) for edge in topology.edges]
            for cell, topology in space.cells.items()
        }
        return space.groups

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor | Relaxed]:
        """See :meth:`Relaxation.forward`."""
        return {
            group.name: self._equal(arch_parameters[group.name], group) for group in space.groups
        }

    def _equal(self, alpha: Tensor, group: EdgeGroup) -> Tensor:
        counts = [len(group.candidates)]
        if self.of == 'space':
            counts = [self._counts[group.cell][edge] for edge in group.edges]
        if len(set(counts)) == 1:
            return torch.full_like(alpha, 1 / counts[0], requires_grad=False)
        rows = zip(alpha.detach().split(1), counts, strict=True)
        return torch.cat([torch.full_like(row, 1 / count) for row, count in rows])

    def expected(
        self,
        arch_parameters: Mapping[str, Tensor],
        space: SearchSpace,
        drawn: Mapping[str, Relaxed] | None = None,
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.expected`: shares of a node, alike before the first score."""
        shares: dict[tuple[str, int], Tensor] = {}
        for cell, topology in space.cells.items():
            slots = space.slots(cell)
            for node in range(topology.num_inputs, topology.num_nodes):
                into = [slots[edge] for edge in topology.edges_into(node)]
                places = [place for place in into if place is not None]
                rows = [arch_parameters[name][row] for name, row in places]
                parts = torch.cat(rows).softmax(0).split([len(row) for row in rows])
                shares.update(zip(places, parts, strict=True))
        return {
            group.name: torch.stack([shares[group.name, row] for row in range(len(group.edges))])
            for group in space.groups
        }
