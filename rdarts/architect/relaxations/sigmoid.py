"""The relaxation of FairDARTS (https://arxiv.org/abs/1911.12126)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import SearchSpace


@RELAXATIONS.register_module()
class Sigmoid(Relaxation):
    """beta = sigmoid(alpha), each candidate by itself, in any phase (Eq. 3 of the paper)."""

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.forward`."""
        return {group.name: arch_parameters[group.name].sigmoid() for group in space.groups}
