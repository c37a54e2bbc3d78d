"""ZiCo: how alike the gradients of several batches are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.errors import UserError
from rdarts.registry import SCORES
from rdarts.sampling.scores.base import Batch, Candidate, Score


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
            UserError: There is one batch alone, or the network has no such weight that learns.
        """
        if len(batches) < 2:
            raise UserError('ZiCo compares the gradients of 2 batches or more, but got 1')
        weights = [
            layer.weight
            for layer in candidate.network.modules()
            if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.weight.requires_grad
        ]
        if not weights:
            raise UserError(
                f'{type(candidate.network).__name__} has no convolutional or linear weight that '
                'learns, but ZiCo is of their gradients'
            )
        gradients = [_gradients(candidate.network, batch, weights) for batch in batches]
        layers = [self._layer(torch.stack(layer)) for layer in zip(*gradients, strict=True)]
        return float(torch.stack(layers).sum())

    def _layer(self, gradients: Tensor) -> Tensor:
        """A layer's term, from [batches, ...]."""
        sizes = gradients.abs()
        deviation = (gradients if self.signed else sizes).std(0, correction=0)
        total = torch.where(deviation > 0, sizes.mean(0) / deviation, 0).sum()
        return torch.where(total > 0, total.log(), 0)


def _gradients(network: nn.Module, batch: Batch, weights: Sequence[Tensor]) -> Sequence[Tensor]:
    """Of the cross entropy; 0 where a weight has no say."""
    with torch.enable_grad():
        loss = F.cross_entropy(network(batch.images), batch.labels)
    return torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
