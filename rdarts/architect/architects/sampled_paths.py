"""Steps along sampled paths: ProxylessNAS (https://arxiv.org/abs/1812.00332)."""

from __future__ import annotations

import torch
from torch import Tensor

from rdarts.architect.architects.first_order import FirstOrder
from rdarts.architect.architects.sampled_weights import SampledWeights
from rdarts.registry import ARCHITECTS


@ARCHITECTS.register_module()
class SampledPaths(SampledWeights, FirstOrder):
    r"""First order, edge by edge, over the candidates that were drawn.

    It goes with the relaxation :class:`~rdarts.architect.relaxations.BinaryGates`. Alpha of each
    edge is stepped by itself: where the draw lets it rest (a Zero operation), neither alpha nor the
    state of its optimizer moves, the number of steps of Adam included, whatever else asks it to
    (costs, BER).

    After a step, alpha of the candidates that ran is shifted by what keeps the sum of their
    exponentials, so that a step along two paths changes no probability of the others (the paper,
    section 3.2.1). Where all ran, that changes none at all. The others are held only by Adam
    itself: their gradient is 0, which moves them where it has momentum or decay; published are
    betas of (0, .999) and no decay.

    In the weights' step, the weights of candidates that did not run stand still, with their
    momentum and without decay.
    """

    def __str__(self) -> str:
        return 'first order along sampled paths'

    def views(self, tensors: list[Tensor]) -> list[Tensor]:
        """See :meth:`Architect.views`: each edge by itself."""
        return [row for tensor in tensors for row in tensor.detach().unbind(0)]

    def move(self) -> None:
        """See :meth:`Architect.move`."""
        rests = [
            rest
            for name, alpha in zip(self.names, self.alphas, strict=True)
            for rest in self.owner.resting.get(name, [False] * len(alpha))
        ]
        grads = self.views([alpha.grad for alpha in self.alphas])
        for row, grad, rest in zip(self.moved, grads, rests, strict=True):
            row.grad = None if rest else grad
        before = self._mass()
        super().move()
        after = self._mass()
        for name, (active, mass) in after.items():
            alpha = self.owner.arch_parameters[name].detach()
            alpha.sub_(torch.where(active, (mass - before[name][1])[:, None], 0))

    def _mass(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Which candidates ran, and the log of the sum of their exponentials, of each group."""
        ran = {name: one.active for name, one in self.owner.mixed.items()}
        if any(active is None for active in ran.values()):
            return {}
        found = {}
        for name, flags in self.owner.ways.to_whole({n: a.float() for n, a in ran.items()}).items():
            active = flags > 0
            alpha = self.owner.arch_parameters[name].detach()
            found[name] = active, alpha.masked_fill(~active, -torch.inf).logsumexp(-1)
        return found
