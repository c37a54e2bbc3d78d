"""Batch Entropy-decay Regularization, BER: the method of r-DARTS (AAAI 2026)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rdarts.architect.regularizers.base import Regularizer
from rdarts.registry import REGULARIZERS
from rdarts.search_spaces import SearchSpace


@REGULARIZERS.register_module()
class BatchEntropyDecay(Regularizer):
    r"""The mean entropy of the activated architecture parameters (Eq. 17).

    With :math:`\beta_k = \mathrm{softmax}(\alpha_k)` for the N edges of all cell types
    together, whatever their number of candidates,

    .. math::
        r(\alpha) = \frac1N \sum_k H(\beta_k), \quad
        H(\beta) = -\sum_o \beta_o \log \beta_o \ \text{(nats)}

    is added to L_val as lambda r (Eq. 15). Its gradient is
    :math:`-\frac1N \beta_k \odot (\log \beta_k + H(\beta_k))` (Eq. 19, 20).

    It decays entropy. Eq. 12 of the paper carries the opposite sign (a KL term to a uniform
    prior gives -beta H), while Eq. 15 to 20 and the text minimise entropy, and so does this;
    a negative lambda (``signed=True``) is Eq. 12.
    Eq. 13 and 23 multiply alpha by r, which contradicts Eq. 15 and 16: not implemented.

    It reads raw alpha, so it goes with any relaxation, and sampling noise never enters it.

    Args:
        lambda_ (float | dict): See :class:`Regularizer`.
        signed (bool): Likewise.
    """

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Tensor:
        """See :meth:`Regularizer.__call__`."""
        total, edges = 0.0, 0
        for group in space.groups:
            alpha = arch_parameters[group.name]
            log_beta = torch.log_softmax(alpha, dim=-1)
            total = total - (log_beta.exp() * log_beta).sum()
            edges += alpha.shape[0]
        return total / edges
