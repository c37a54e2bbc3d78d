"""One backward pass for weights and alpha: SNAS (https://arxiv.org/abs/1812.09926)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rdarts.architect.architect import Architect
from rdarts.architect.gradients import average, only_training
from rdarts.errors import UserError
from rdarts.registry import ARCHITECTS


@ARCHITECTS.register_module()
class SingleLevel(Architect):
    """Alpha's gradient is that of the weights' own step: d L_train / d alpha at the same draw.

    There is no L_val, and no ``arch_dataloader``: the weights may learn from all training images.
    Regularisers are added to the loss that alpha's gradient comes from. Relaxations see the phase
    ``'alpha'`` where alpha moves, and ``'weights'`` where it rests. Alpha has its own optimizer
    and is in no clip of the weights.

    """

    single_level = True
    keeps_passes = False

    def __str__(self) -> str:
        return 'single level'

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """See :meth:`Architect.prepare`.

        Raises:
            UserError: Gradients of the weights are accumulated over several batches.
        """
        super().prepare(*args, **kwargs)
        if getattr(self.optim_wrapper, '_accumulative_counts', 1) != 1:
            raise UserError(
                f"{type(self).__name__} takes alpha's gradient from each step of the weights: set "
                'optim_wrapper.accumulative_counts=1'
            )

    def train_step(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """See :meth:`Architect.train_step`.

        Raises:
            StepFailed: The loss, or the gradient of alpha, is NaN or infinite.
        """
        self.last_batch = batch
        if not self.moving:
            return super().train_step(model, batch)
        with only_training(self.alphas, ()), self.owner.alpha_phase():
            return super().train_step(model, batch)

    def rehearse(self, batch: Any) -> None:
        """See :meth:`Architect.rehearse`."""
        with only_training(self.alphas, ()), self.owner.alpha_phase():
            self.model.train_step(batch, self.optim_wrapper)

    def before_clip(self, loss: Tensor) -> None:
        """See :meth:`Architect.before_clip`: alpha has its gradient too, and moves."""
        if not self.moving:
            return
        grads = [torch.zeros_like(a) if a.grad is None else a.grad for a in self.alphas]
        scaled = getattr(self.optim_wrapper, 'loss_scaler', None) is not None
        self.step_along(average(grads), loss, 'training loss', 1.0, scaled)

    def restore_last_batch(self) -> str | None:
        """See :meth:`Architect.restore_last_batch`."""
        return None if self.last_batch is not None else 'the run was resumed after its last batch'
