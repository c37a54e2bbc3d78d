"""SynFlow (https://arxiv.org/abs/2006.05467) as a score (https://arxiv.org/abs/2101.08134)."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rdarts.registry import SCORES
from rdarts.sampling.scores.base import Batch, Candidate, Score
from rdarts.sampling.scores.gradients import gradients, logits_of, total, unchanged


@SCORES.register_module()
class SynFlow(Score):
    r"""The flow through all paths of weights, without data.

    .. math:: S = \sum_l \sum_i \Big\lvert w_{l,i} \frac{\partial R}{\partial w_{l,i}} \Big\rvert,
        \quad R = \text{sum of the logits of one image of ones}

    over the weights of convolutions and linear layers, in float64 and training mode, with all
    parameters and buffers replaced by their absolute values and without batch norm. Of the batch,
    the shape of its images alone is read. A copy of the network is what changes.

    The code of zero-cost NAS leaves batch norm in the reductions of its own NAS-Bench-201 network.

    Args:
        batch_norm (bool): Whether batch norms are kept (``synflow_bn`` of zero-cost NAS). Defaults
            to False.
        log (bool): Whether it is log S, as NASLib reports it, and minus infinity where S is 0,
            where NASLib gives 0. Defaults to False.
    """

    def __init__(self, batch_norm: bool = False, log: bool = False) -> None:
        self.batch_norm, self.log = batch_norm, log

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`.

        Raises:
            UserError: See :func:`unchanged` and :func:`logits_of`.
        """
        score = total(self.per_layer(candidate, batches))
        if not self.log:
            return score
        return math.log(score) if score > 0 else score if math.isnan(score) else -math.inf

    def per_layer(self, candidate: Candidate, batches: Sequence[Batch]) -> list[Tensor]:
        """See :meth:`Score.per_layer`."""
        network = copy.deepcopy(candidate.network).double()
        if not self.batch_norm:
            network = _without_batch_norm(network)
        with torch.no_grad():
            for tensor in [*network.parameters(), *network.buffers()]:
                if tensor.is_floating_point():
                    tensor.abs_()
        images = torch.ones_like(batches[0].images[:1], dtype=torch.float64)
        with unchanged(network) as layers:
            weights = [layer.weight for layer in layers]
            found = gradients(logits_of(network, images).sum(), weights)
        return [
            (weight.detach() * grad).abs().sum()
            for weight, grad in zip(weights, found, strict=True)
        ]


def _without_batch_norm(network: nn.Module) -> nn.Module:
    """The network itself, each of its batch norms replaced by the identity."""
    for name, module in network.named_children():
        setattr(network, name, _without_batch_norm(module))
    return nn.Identity() if isinstance(network, _BatchNorm) else network
