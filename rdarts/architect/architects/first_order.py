"""First-order DARTS: d L_val / d alpha at the current weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from rdarts.architect.architect import Architect
from rdarts.architect.gradients import LossFunction, gradient_of, only_training
from rdarts.registry import ARCHITECTS


def first_order(
    val_loss: LossFunction,
    alphas: Sequence[nn.Parameter],
    weights: Sequence[nn.Parameter],
    scale: float = 1.0,
) -> tuple[list[Tensor], Tensor]:
    """Eq. 2 with xi = 0: the gradient at the current weights. None is computed for weights.

    Args:
        val_loss (Callable): Computes L_val, a scalar.
        alphas (Sequence[Parameter]): Alpha.
        weights (Sequence[Parameter]): The trainable weights.
        scale (float): The loss scale of float16. Defaults to 1.

    Returns:
        tuple[list[Tensor], Tensor]: d L_val / d alpha times the scale, and L_val.
    """
    with only_training(alphas, weights):
        loss = val_loss()
        grads = gradient_of(scale * loss, alphas)
    return grads, loss.detach()


@ARCHITECTS.register_module()
class FirstOrder(Architect):
    """The gradient of first-order DARTS; see :func:`first_order`."""

    keeps_passes = False

    def __str__(self) -> str:
        return 'first order'

    def gradient(self, train_batch: Any, val_batch: Any) -> tuple[list[Tensor], Tensor]:
        """See :meth:`Architect.gradient`."""
        val_loss = partial(self.loss, val_batch)
        return first_order(val_loss, self.alphas, self.weights, self.loss_scale)
