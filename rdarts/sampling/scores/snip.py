"""SNIP (https://arxiv.org/abs/1810.02340) as a score (https://arxiv.org/abs/2101.08134)."""

from __future__ import annotations

from torch import Tensor

from rdarts.registry import SCORES
from rdarts.sampling.scores.gradients import GradientScore


@SCORES.register_module()
class Snip(GradientScore):
    r"""How much the loss changes as weights are taken away.

    .. math:: S = \sum_l \sum_i \lvert \partial L / \partial w_{l,i} \cdot w_{l,i} \rvert

    over the weights of convolutions and linear layers. SNIP itself, which prunes, divides each
    term by their sum; as a score the sum is what counts.
    """

    def term(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """See :meth:`GradientScore.term`."""
        return (gradient * weight).abs().sum()
