"""Candidates drawn by Gumbel noise: GDAS (https://arxiv.org/abs/1910.04465), SNAS
(https://arxiv.org/abs/1812.09926)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.configuration.schedule import Schedule, ScheduleSpec
from rdarts.errors import UserError
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import SearchSpace


@RELAXATIONS.register_module()
class GumbelSoftmax(Relaxation):
    r"""A draw from softmax(alpha), relaxed by a temperature tau.

    With g = -log E, E exponential, of every candidate,

    .. math:: \tilde\beta = \mathrm{softmax}((\alpha + g) / \tau).

    ``hard`` (GDAS, Eq. 3 to 5) mixes the strongest candidate alone, with the weight 1 and the
    gradient of the relaxed weights; the others do not run. Without (SNAS's concrete
    distribution, Eq. 6), all are mixed by the relaxed weights. Each forward in training draws anew,
    all cells of a type alike. In evaluation it is the most probable candidate (``hard``), or
    softmax(alpha).

    GDAS's published cell of NAS-Bench-201 adds the weights of the candidates that were not drawn,
    0 in value, to the result, so that each of them gets the sum of the result's gradient, where the
    paper gives it none: ``constant=True``. Its code takes log-softmax of alpha first, which changes
    nothing.

    Args:
        temperature (float | dict): tau, constant or a schedule over epochs: see
            :class:`~rdarts.configuration.schedule.Schedule`. Defaults to 1.
        hard (bool): Whether one candidate is drawn. Defaults to True.
        constant (bool): With ``hard``, whether others have a gradient as published. Defaults to
            False.

    Raises:
        UserError: The temperature is not more than 0, or ``constant`` goes without ``hard``.
    """

    def __init__(
        self, temperature: ScheduleSpec = 1.0, hard: bool = True, constant: bool = False
    ) -> None:
        name = f'temperature of {type(self).__name__}'
        schedule = Schedule(temperature, name=name)
        super().__init__(temperature=schedule)
        least = min(value for _, value in schedule.points)
        if least <= 0:
            raise UserError(f'{name} must be more than 0, but is {least:g}')
        if constant and not hard:
            raise UserError(f'constant of {type(self).__name__} goes with hard=True')
        self.sampled, self.constant = hard, constant

    def noise(self, alpha: Tensor) -> Tensor:
        """Numbers E of the exponential distribution, of alpha's shape."""
        return torch.empty_like(alpha).exponential_()

    def relax(self, alpha: Tensor, phase: str) -> Tensor | Relaxed:
        """See :meth:`Relaxation.relax`."""
        if phase == 'eval':
            soft = alpha.softmax(-1)
            return strongest(soft) if self.sampled else soft
        drawn = alpha - self.noise(alpha).log()
        soft = (drawn / self.numbers()['temperature']).softmax(-1)
        if not self.sampled:
            return soft
        hard = strongest(soft)
        return Relaxed(straight_through(hard, soft), hard > 0, self.constant)

    def expected(
        self,
        arch_parameters: Mapping[str, Tensor],
        space: SearchSpace,
        drawn: Mapping[str, Relaxed] | None = None,
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.expected`: of a draw without ``hard``, its g is kept."""
        if drawn is None or self.sampled:
            return super().expected(arch_parameters, space)
        tau, found = self.numbers()['temperature'], {}
        for group in space.groups:
            alpha = arch_parameters[group.name]
            # log beta is (alpha + g) / tau but for a constant
            moved = drawn[group.name].weights.log() + (alpha - alpha.detach()) / tau
            found[group.name] = moved.softmax(-1)
        return found


def strongest(soft: Tensor) -> Tensor:
    """1 for the strongest candidate of each edge, 0 for the others."""
    return torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)


def straight_through(hard: Tensor, path: Tensor) -> Tensor:
    """The values of ``hard``, exactly, with the gradient of ``path``."""
    return hard + (path - path.detach())
