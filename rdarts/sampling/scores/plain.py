"""Gradient times weight, with its sign, as a score (https://arxiv.org/abs/2101.08134)."""

from __future__ import annotations

from torch import Tensor

from rdarts.registry import SCORES
from rdarts.sampling.scores.gradients import GradientScore


@SCORES.register_module()
class Plain(GradientScore):
    r"""Gradient times weight.

    .. math:: S = \sum_l \sum_i \partial L / \partial w_{l,i} \cdot w_{l,i}

    over the weights of convolutions and linear layers. Batch norm makes the loss blind to the size
    of the weights before it, whose terms then add up to about 0.
    """

    def term(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """See :meth:`GradientScore.term`."""
        return (gradient * weight).sum()
