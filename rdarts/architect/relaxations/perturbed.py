"""Mixing weights that are perturbed while the weights learn: SmoothDARTS
(https://arxiv.org/abs/2002.05283)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.configuration.schedule import Schedule, ScheduleSpec
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import SearchSpace


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
        super().__init__()
        name = f'epsilon of {type(self).__name__}'
        self.epsilon = Schedule(epsilon, name=name, minimum=0.0)
        self.epoch = 0

    def set_progress(self, epoch: int, max_epochs: int) -> None:
        """See :meth:`Relaxation.set_progress`."""
        self.epoch = epoch

    def numbers(self) -> dict[str, float]:
        """See :meth:`Relaxation.numbers`."""
        return dict(epsilon=self.epsilon.at(self.epoch))

    def noise(self, weights: Tensor) -> Tensor:
        """Numbers between -1 and 1, of the weights' shape."""
        return torch.rand_like(weights) * 2 - 1

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.forward`."""
        soft = {group.name: arch_parameters[group.name].softmax(-1) for group in space.groups}
        if phase != 'weights':
            return soft
        epsilon = self.epsilon.at(self.epoch)
        return {name: project(beta + epsilon * self.noise(beta)) for name, beta in soft.items()}
