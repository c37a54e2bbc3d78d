"""The correlation of the images' Jacobians (https://arxiv.org/abs/2006.04647, version 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from rdarts.registry import SCORES
from rdarts.sampling.scores.base import Batch, Candidate, Score
from rdarts.sampling.scores.gradients import gradients, logits_of, unchanged

EPSILON = 1e-5


@SCORES.register_module()
class JacobCov(Score):
    r"""How little the gradients of different images correlate.

    With the gradient of the sum of all logits by each of N images, and the eigenvalues v of the
    [N, N] matrix of correlations between these,

    .. math:: S = -\sum_i \Big( \log(v_i + k) + \frac{1}{v_i + k} \Big), \quad k = 10^{-5}

    in training mode. The eigenvalues are computed in float64. NaN where an image's gradient is
    constant, as in a network that reads nothing of the images.
    """

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`.

        Raises:
            UserError: See :func:`unchanged` and :func:`logits_of`.
        """
        with unchanged(candidate.network) as layers:
            for layer in layers:
                layer.weight.requires_grad_(False)
            images = batches[0].images.detach().clone().requires_grad_()
            (jacobian,) = gradients(logits_of(candidate.network, images).sum(), [images])
        correlation = torch.corrcoef(jacobian.flatten(1).double()).cpu()
        if not correlation.isfinite().all():
            return math.nan
        values = torch.linalg.eigvalsh(torch.atleast_2d(correlation)) + EPSILON
        return -float((values.log() + 1 / values).sum())
