"""Mixing weights that are perturbed while the weights learn: SmoothDARTS
(https://arxiv.org/abs/2002.05283)."""

from __future__ import annotations

import torch
from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.configuration.schedule import Schedule, ScheduleSpec
from rdarts.registry import RELAXATIONS


def project(weights: Tensor) -> Tensor:
    """Weights [edges, candidates] brought back to sums of 1: clamped to [0, 1], and divided.

    The published code does this and calls it a projection onto the simplex, which it is not. A row
    without a positive weight becomes 1 at its largest one.
    """
    clamped = weights.clamp(0, 1)
    total = clamped.sum(-1, keepdim=True)
    largest = torch.zeros_like(weights).scatter_(-1, weights.argmax(-1, keepdim=True), 1.0)
    return torch.where(total > 0, clamped / total.clamp_min(torch.finfo(total.dtype).tiny), largest)


@RELAXATIONS.register_module()
class PerturbedSoftmax(Relaxation):
    r"""SDARTS-RS: in the weights' step, softmax(alpha) + U(-epsilon, epsilon), brought back.

    Alpha's step and evaluation see softmax(alpha). Each forward of the weights' step draws anew,
    all cells of a type alike. The paper's epsilon grows linearly from .03 to .3.

    Args:
        epsilon (float | dict): Constant, or a schedule over epochs: see
            :class:`~rdarts.configuration.schedule.Schedule`. Defaults to .3.

    Raises:
        UserError: epsilon is negative.
    """

    def __init__(self, epsilon: ScheduleSpec = 0.3) -> None:
        name = f'epsilon of {type(self).__name__}'
        super().__init__(epsilon=Schedule(epsilon, name=name, minimum=0.0))

    def noise(self, weights: Tensor) -> Tensor:
        """Numbers between -1 and 1, of the weights' shape."""
        return torch.rand_like(weights) * 2 - 1

    def relax(self, alpha: Tensor, phase: str) -> Tensor:
        """See :meth:`Relaxation.relax`."""
        soft = alpha.softmax(-1)
        if phase != 'weights':
            return soft
        return project(soft + self.numbers()['epsilon'] * self.noise(soft))
