"""Beta-decay regularisation (beta-DARTS, https://arxiv.org/abs/2203.01665)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rdarts.architect.regularizers.base import Regularizer
from rdarts.registry import REGULARIZERS
from rdarts.search_spaces import SearchSpace


@REGULARIZERS.register_module()
class BetaDecay(Regularizer):
    r"""The mean over all edges of the log-sum-exp of raw alpha (Eq. 13 of the paper).

    .. math:: R(\alpha) = \frac1N \sum_k \log \sum_o \exp(\alpha_{k,o})

    Its gradient is softmax(alpha) / N, so the weights beta are decayed, each by its own size.
    beta-DARTS lets lambda grow linearly, in NAS-Bench-201 from 0 in epoch 0 to 49.5 in epoch 99.

    The published code differs in the step of the weights, not here: its clip of 5 is taken over
    alpha's gradient too. In the DARTS space it stops with an error, so that its lambda there is not
    known.

    Args:
        lambda_ (float | dict): See :class:`Regularizer`.
        signed (bool): Likewise.
    """

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Tensor:
        """See :meth:`Regularizer.__call__`."""
        rows = [arch_parameters[group.name].logsumexp(dim=-1) for group in space.groups]
        return torch.cat(rows).mean()
