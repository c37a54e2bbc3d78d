"""The relaxation of DARTS (Eq. 1)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import SearchSpace


@RELAXATIONS.register_module()
class Softmax(Relaxation):
    """beta_k = exp(alpha_k) / sum_k' exp(alpha_k') on every edge, in any phase."""

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.forward`."""
        return {group.name: arch_parameters[group.name].softmax(-1) for group in space.groups}
