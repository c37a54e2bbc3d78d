"""Weights that learn under the worst mixing weights near softmax(alpha): SmoothDARTS, adversarial
(https://arxiv.org/abs/2002.05283)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rdarts.architect.architects.first_order import FirstOrder
from rdarts.architect.gradients import average, gradient_of, only_training
from rdarts.architect.relaxations.perturbed import project
from rdarts.architect.relaxations.softmax import Softmax
from rdarts.configuration.declarations import Positive
from rdarts.configuration.schedule import Schedule, ScheduleSpec
from rdarts.errors import UserError
from rdarts.registry import ARCHITECTS
from rdarts.utils.random_state import get_random_state, set_random_state


@ARCHITECTS.register_module()
class AdversarialMixing(FirstOrder):
    r"""SDARTS-ADV: the weights' step is taken at softmax(alpha) + delta, where

    delta = argmax over \|delta\|_inf <= epsilon of L_train(w, softmax(alpha) + delta),

    by projected gradient ascent (PGD): from softmax(alpha) + U(-epsilon, epsilon), ``steps`` steps
    of 2 epsilon / ``steps`` along the sign of the gradient, each clamped to the ball and brought
    back to rows of sums of 1 by :func:`~rdarts.architect.relaxations.perturbed.project`, which may
    leave the ball again. Where the loss did not rise, delta is 0. All cells of a type share delta.
    Alpha's step sees softmax(alpha), and is of first order.

    The ascent takes the batch of the weights' step in evaluation mode, as published, so batch norms
    take their running statistics and move none; the weights are frozen in it, and each pass draws
    the same noise. Of several ranks, gradients and losses are averaged.

    Args:
        epsilon (float | dict): The radius of the ball, constant or a schedule over epochs: see
            :class:`~rdarts.configuration.schedule.Schedule`. Defaults to .3.
        steps (int): Of the ascent. Defaults to 7.

    Raises:
        UserError: epsilon is negative, or ``steps`` is no positive integer.
    """

    def __init__(self, epsilon: ScheduleSpec = 0.3, steps: Positive = 7) -> None:
        super().__init__()
        name = f'epsilon of {type(self).__name__}'
        self.schedules = dict(epsilon=Schedule(epsilon, name=name, minimum=0.0))
        if not isinstance(steps, int) or steps < 1:
            raise UserError(f'steps must be a positive integer, but is {steps!r}')
        self.ascent_steps = steps

    def __str__(self) -> str:
        return f'first order, weights under adversarial mixing ({self.ascent_steps} steps of PGD)'

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """See :meth:`Architect.prepare`.

        Raises:
            UserError: The relaxation is not the softmax.
        """
        super().prepare(*args, **kwargs)
        relaxation = self.owner.relaxation
        if not isinstance(relaxation, Softmax):
            raise UserError(
                f'{type(self).__name__} perturbs the softmax of alpha: the relaxation must be '
                f'rdarts.Softmax, but is {type(relaxation).__name__}'
            )

    def train_step(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """See :meth:`Architect.train_step`."""
        with self.owner.shifted(self.worst(batch)):
            return super().train_step(model, batch)

    def noise(self, weights: Tensor) -> Tensor:
        """Numbers between -1 and 1, of the weights' shape; the same on all ranks."""
        return torch.rand_like(weights) * 2 - 1

    def worst(self, batch: Any) -> list[dict[str, Tensor]]:
        """delta, as :meth:`AlphaOwner.shifted` takes it.

        Args:
            batch (dict): That of the weights' step.
        """
        soft = self.owner.mixing_weights()
        radius, steps = self.numbers()['epsilon'], self.ascent_steps
        cells = self.owner.zero_shifts()

        def shifts(weights: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
            moved = {name: weight - soft[name] for name, weight in weights.items()}
            return [{name: moved[name] for name in cell} for cell in cells]

        def loss(weights: Mapping[str, Tensor]) -> Tensor:
            set_random_state(noise)
            with self.owner.shifted(shifts(weights)):
                return self.weights_loss(batch)

        found = {name: project(one + radius * self.noise(one)) for name, one in soft.items()}
        noise, scale = get_random_state(), self.weights_loss_scale
        with evaluating(self.model), only_training((), self.weights):
            with torch.no_grad():
                before = loss(soft)
            for _ in range(steps):
                leaves = {name: weight.requires_grad_(True) for name, weight in found.items()}
                grads = average(gradient_of(scale * loss(leaves), list(leaves.values())))
                with torch.no_grad():
                    for (name, weight), grad in zip(leaves.items(), grads, strict=True):
                        moved = weight + 2 * radius / steps * grad.sign()
                        delta = (moved - soft[name]).clamp(-radius, radius)
                        found[name] = project(soft[name] + delta)
            with torch.no_grad():
                after = loss(found)
        set_random_state(noise)  # the weights' step draws what the ascent saw
        before, after = average([before, after])
        self.row = dict(loss_rise=(after - before).clamp_min(0))
        kept = {name: torch.where(after > before, found[name], soft[name]) for name in soft}
        return shifts(kept)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within, a model is in evaluation mode; afterwards each module is in its own."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
