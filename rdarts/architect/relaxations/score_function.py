"""Candidates drawn with the gradient of the score function: DSNAS
(https://arxiv.org/abs/2002.09128)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.architect.relaxations.gumbel_softmax import strongest
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import SearchSpace


@RELAXATIONS.register_module()
class ScoreFunction(Relaxation):
    r"""One candidate an edge is drawn from softmax(alpha), and runs alone, with the weight 1.

    With the draw Z, of which :math:`Z_k = 1`, alpha's gradient on an edge is that of
    :math:`\log p(Z)` times the edge's reward (Eq. 10 and 11),

    .. math:: \frac{\partial L}{\partial Z_k} \frac{\partial \log p(Z)}{\partial \alpha},

    which costs nothing beside the one backward pass: no candidate runs that was not drawn. It is
    descended, as published. All cells of a type draw alike. In evaluation it is the most probable
    candidate.
    """

    sampled = True

    def relax(self, alpha: Tensor, phase: str) -> Tensor | Relaxed:
        """See :meth:`Relaxation.relax`."""
        if phase == 'eval':
            return strongest(alpha)
        drawn = torch.multinomial(alpha.detach().softmax(-1), 1)
        hard = torch.zeros_like(alpha).scatter_(-1, drawn, 1.0)
        log_p = (hard * alpha.log_softmax(-1)).sum(-1, keepdim=True)
        return Relaxed(hard * (1 + (log_p - log_p.detach())), hard > 0)

    def expected(
        self,
        arch_parameters: Mapping[str, Tensor],
        space: SearchSpace,
        drawn: Mapping[str, Relaxed] | None = None,
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.expected`: of a draw, the probabilities of what was drawn."""
        found = super().expected(arch_parameters, space)
        if drawn is None:
            return found
        return {name: weights * drawn[name].active for name, weights in found.items()}
