"""The relaxation of DARTS (Eq. 1)."""

from __future__ import annotations

from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.registry import RELAXATIONS


@RELAXATIONS.register_module()
class Softmax(Relaxation):
    """beta_k = exp(alpha_k) / sum_k' exp(alpha_k') on every edge, in any phase."""

    def relax(self, alpha: Tensor, phase: str) -> Tensor:
        """See :meth:`Relaxation.relax`."""
        return alpha.softmax(dim=-1)
