"""ZiCo: how alike the gradients of several batches are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rdarts.errors import UserError
from rdarts.registry import SCORES
from rdarts.sampling.scores.base import Batch, Candidate, Score
from rdarts.sampling.scores.gradients import gradients, loss_of, total, unchanged


@SCORES.register_module()
class ZiCo(Score):
    r"""Inverse coefficient of variation of gradients (https://arxiv.org/abs/2301.11300).

    .. math:: \sum_l \log \sum_{w \in l} \frac{E[|g_w|]}{\sqrt{Var(|g_w|)}}

    over layers l with the convolutional or linear weights w, for the gradients g of the cross
    entropy of each batch; variances are divided by the number of batches. Weights whose gradients
    do not vary have no say, nor have layers without any other. Published with 2 batches and
    PyTorch's own initial weights.

    Published code takes the variance of g, with its sign, in place of that of its size
    (``signed``); its figures and those of others are of that. It ends where a weight has no
    gradient, which is 0 here.

    Args:
        signed (bool): Whether the variance is that of g. Defaults to False.
    """

    batches = 2

    def __init__(self, signed: bool = False) -> None:
        self.signed = signed

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`.

        Raises:
            UserError: There is one batch alone; or see :func:`unchanged` and :func:`logits_of`.
        """
        if len(batches) < 2:
            raise UserError('ZiCo compares the gradients of 2 batches or more, but got 1')
        network = candidate.network
        with unchanged(network) as layers:
            weights = [layer.weight for layer in layers]
            found = [gradients(loss_of(network, batch), weights) for batch in batches]
        return total(self._term(torch.stack(layer)) for layer in zip(*found, strict=True))

    def _term(self, gradients: Tensor) -> Tensor:
        """Of a layer, from [batches, ...]."""
        sizes = gradients.abs()
        deviation = (gradients if self.signed else sizes).std(0, correction=0)
        ratios = torch.where(deviation > 0, sizes.mean(0) / deviation, 0).sum()
        return torch.where(ratios > 0, ratios.log(), 0)
