"""The norm of the gradient, as a score (https://arxiv.org/abs/2101.08134)."""

from __future__ import annotations

from torch import Tensor

from rdarts.registry import SCORES
from rdarts.sampling.scores.gradients import GradientScore


@SCORES.register_module()
class GradNorm(GradientScore):
    r"""The sum over layers l of the Euclidean norms of their gradients.

    .. math:: S = \sum_l \lVert \partial L / \partial w_l \rVert_2

    over the weights of convolutions and linear layers.
    """

    additive = False

    def term(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """See :meth:`GradientScore.term`."""
        return gradient.norm()
