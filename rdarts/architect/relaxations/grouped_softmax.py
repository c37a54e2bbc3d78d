"""A softmax for each kind of operation: DOTS (https://arxiv.org/abs/2010.00969)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.errors import UserError
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import EdgeGroup, SearchSpace


@RELAXATIONS.register_module()
class GroupedSoftmax(Relaxation):
    """Two softmaxes an edge: over its parameter-free candidates, and over the others.

    Candidates compete within their kind alone, and the results of both kinds are added, so that the
    weights of an edge add up to 2. The kinds are those of the space
    (:attr:`~rdarts.search_spaces.SearchSpace.parameter_free`), ``none`` among the parameter-free
    ones. An edge that has candidates of one kind only, as some of S1, has one softmax, whose
    weights add up to 1; the published code, which has no such space, does not say.

    BER's entropy is that of one softmax over all candidates of an edge, as everywhere (Eq. 17): it
    can fall where all of one kind lose against the other, which changes no mixing weight here.

    Raises:
        UserError: No edge of the space has candidates of both kinds.
    """

    def groups(self, space: SearchSpace) -> tuple[EdgeGroup, ...]:
        """See :meth:`Relaxation.groups`."""
        if all(len(space.by_kind(group.candidates)) < 2 for group in space.groups):
            raise UserError(
                f"GroupedSoftmax: in the space '{space.name}' no edge has candidates both with "
                "parameters and without: use 'rdarts.Softmax'"
            )
        return super().groups(space)

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.forward`."""
        found = {}
        for group in space.groups:
            columns, soft = arch_parameters[group.name].unbind(-1), {}
            for places in space.by_kind(group.candidates):
                one = torch.stack([columns[place] for place in places], -1).softmax(-1)
                soft.update(zip(places, one.unbind(-1), strict=True))
            found[group.name] = torch.stack([soft[place] for place in range(len(columns))], -1)
        return found
