"""SynFlow (https://arxiv.org/abs/2006.05467) as a score (https://arxiv.org/abs/2101.08134)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

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
    the shape of its images alone is read. The network is as it was afterwards.

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
        network = candidate.network
        images = torch.ones_like(batches[0].images[:1], dtype=torch.float64)
        bare = nullcontext() if self.batch_norm else _without_batch_norm(network)
        with bare, unchanged(network) as layers:
            made = {id(tensor): _positive(tensor) for tensor in _tensors(network).values()}
            state = {name: made[id(tensor)] for name, tensor in _tensors(network).items()}
            weights = [made[id(layer.weight)].requires_grad_() for layer in layers]
            found = gradients(logits_of(network, images, state).sum(), weights)
        return [
            (weight.detach() * grad).abs().sum()
            for weight, grad in zip(weights, found, strict=True)
        ]


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by all of their names."""
    return {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
    }


def _positive(tensor: Tensor) -> Tensor:
    """A copy, in float64 and without signs where it is of that kind."""
    if not tensor.is_floating_point():
        return tensor.detach().clone()
    return tensor.detach().to(torch.float64, copy=True).abs_()


@contextmanager
def _without_batch_norm(network: nn.Module) -> Iterator[None]:
    """Within, the identity stands in the place of each batch norm of a network."""
    places = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, _BatchNorm)
    ]
    try:
        for parent, name, _ in places:
            setattr(parent, name, nn.Identity())
        yield
    finally:
        for parent, name, child in places:
            setattr(parent, name, child)
