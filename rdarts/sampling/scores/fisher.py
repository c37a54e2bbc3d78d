"""Fisher information of channels as a score (https://arxiv.org/abs/2101.08134)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from rdarts.registry import SCORES
from rdarts.sampling.scores.base import Batch, Candidate, Score
from rdarts.sampling.scores.gradients import gradients, loss_of, total, unchanged


@SCORES.register_module()
class Fisher(Score):
    r"""How much the loss changes as channels are taken away, by the Fisher information.

    For the output a of a convolution or linear layer and g, the gradient of the loss by it, the
    channel c of a layer l is worth

    .. math:: \Delta_{l,c} = \frac{1}{2N} \sum_n \Big( \sum_{h,w} a_{n,c,h,w}\, g_{n,c,h,w} \Big)^2,
        \quad S = \sum_l k_l \sum_c \Delta_{l,c}

    (Fisher pruning, https://arxiv.org/abs/1801.05787). In zero-cost NAS, as published, each weight
    has the worth of its channel, and all weights are added up: k is the number of weights of one
    output channel. Added up over channels, k is 1. The published code sums in float32.

    Args:
        per_weight (bool): Whether k is the number of weights of a channel. Defaults to True.
    """

    def __init__(self, per_weight: bool = True) -> None:
        self.per_weight = per_weight

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`.

        Raises:
            UserError: See :func:`unchanged` and :func:`logits_of`.
        """
        found: list[tuple[nn.Module, Tensor]] = []

        def keep(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            found.append((layer, output))
            return output.clone()  # what follows may overwrite it

        with unchanged(candidate.network) as layers:
            handles = [layer.register_forward_hook(keep) for layer in layers]
            try:
                loss = loss_of(candidate.network, batches[0])
            finally:
                for handle in handles:
                    handle.remove()
            grads = gradients(loss, [output for _, output in found])
        return total(
            self._layer(layer, output.detach(), grad)
            for (layer, output), grad in zip(found, grads, strict=True)
        )

    def _layer(self, layer: nn.Module, output: Tensor, gradient: Tensor) -> Tensor:
        product = (output * gradient).flatten(2).sum(2) if output.dim() > 2 else output * gradient
        worth = product.square().mean(0).sum() / 2
        return worth * layer.weight[0].numel() if self.per_weight else worth
