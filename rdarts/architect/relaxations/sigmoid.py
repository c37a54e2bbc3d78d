"""The relaxation of FairDARTS (https://arxiv.org/abs/1911.12126)."""

from __future__ import annotations

from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.registry import RELAXATIONS


@RELAXATIONS.register_module()
class Sigmoid(Relaxation):
    """beta = sigmoid(alpha), each candidate by itself, in any phase (Eq. 3 of the paper)."""

    def relax(self, alpha: Tensor, phase: str) -> Tensor:
        """See :meth:`Relaxation.relax`."""
        return alpha.sigmoid()
