"""Second-order DARTS: d L_val / d alpha through one virtual step of the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from rdarts.architect.architect import Architect
from rdarts.architect.gradients import (
    LossFunction,
    Move,
    average,
    displaced,
    gradient_of,
    only_training,
)
from rdarts.errors import UserError
from rdarts.registry import ARCHITECTS
from rdarts.utils.random_state import get_random_state, set_random_state

FD_RADIUS = 1e-2
HESSIANS = ('finite_difference', 'autograd')


@dataclass
class VirtualStep:
    """The step that SGD would take, for all weights.

    Args:
        delta (list[Tensor]): Change of each weight.
        slope (list[float]): d delta / d gradient of each weight: the rate with its sign.
    """

    delta: list[Tensor]
    slope: list[float]


def sgd_step(
    optimizer: Optimizer, weights: Sequence[nn.Parameter], grads: Sequence[Tensor]
) -> VirtualStep:
    """What ``torch.optim.SGD`` would do next, momentum, weight decay and all, without doing it.

    Raises:
        UserError: The optimizer is no SGD, or lacks one of the weights.
    """
    if not isinstance(optimizer, SGD):
        raise UserError(
            f'order=2 unrolls a step of SGD, but the weight optimizer is '
            f'{type(optimizer).__name__}: use SGD, or order=1'
        )
    groups = {id(p): group for group in optimizer.param_groups for p in group['params']}
    step = VirtualStep([], [])
    for weight, grad in zip(weights, grads, strict=True):
        group = groups.get(id(weight))
        if group is None:
            raise UserError('order=2: the weight optimizer lacks a weight that learns')
        sign = -1.0 if group['maximize'] else 1.0
        direction = sign * grad + group['weight_decay'] * weight.detach()
        factor = 1.0
        momentum = group['momentum']
        if momentum:
            buffer = optimizer.state.get(weight, {}).get('momentum_buffer')
            if buffer is None:
                velocity = direction
            else:
                factor = 1.0 - group['dampening']
                velocity = momentum * buffer + factor * direction
            if group['nesterov']:
                direction = direction + momentum * velocity
                factor = 1.0 + momentum * factor
            else:
                direction = velocity
        step.delta.append(-group['lr'] * direction)
        step.slope.append(-group['lr'] * factor * sign)
    return step


def central_difference(
    gradient: Callable[[], list[Tensor]], move: Move, vector: Sequence[Tensor]
) -> list[Tensor]:
    """The derivative of a gradient along a vector of weights, by two evaluations.

    The radius is 1e-2 / ||v|| (DARTS, Eq. 8); along nothing it is 0.

    Args:
        gradient (Callable): Evaluates the gradient at the weights of now.
        move (Callable): See :func:`~rdarts.architect.gradients.displaced`.
        vector (Sequence[Tensor]): v, of each weight.
    """
    norm = torch.stack([v.norm() for v in vector]).norm()
    radius = torch.where(norm > 0, FD_RADIUS / norm, torch.ones_like(norm))
    move(vector, radius)
    plus = gradient()
    move(vector, -radius)
    minus = gradient()
    move(None)
    return [(p - m) / (2 * radius) for p, m in zip(plus, minus, strict=True)]


def unrolled(
    train_loss: LossFunction,
    val_loss: LossFunction,
    alphas: Sequence[nn.Parameter],
    weights: Sequence[nn.Parameter],
    optimizer: Optimizer,
    buffers: Sequence[Tensor] = (),
    hessian: str = 'finite_difference',
    reduce: Callable[[list[Tensor]], list[Tensor]] = lambda grads: grads,
    scale: float = 1.0,
) -> tuple[list[Tensor], Tensor]:
    """Eq. 2: the gradient through one virtual step w' = w + delta(grad_w L_train(w, alpha)).

    d L_val / d alpha = grad_alpha L_val(w', alpha)
    + (d delta / d g) grad_alpha (grad_w L_train(w, alpha) . grad_w' L_val(w', alpha)).

    The last product is a Hessian-vector product, by finite difference of radius
    1e-2 / ||v|| (DARTS, Eq. 8) or exactly. Weights and buffers (batch norm statistics) are
    left as they were, bit by bit; every evaluation of L_train draws the same noise.

    Args:
        train_loss (Callable): Computes L_train at the current weights and alpha.
        val_loss (Callable): Computes L_val.
        alphas (Sequence[Parameter]): Alpha.
        weights (Sequence[Parameter]): The trainable weights.
        optimizer (Optimizer): The weight optimizer, an SGD.
        buffers (Sequence[Tensor]): What the losses change and must be restored.
        hessian (str): ``'finite_difference'`` or ``'autograd'``.
        reduce (Callable): Averages gradients over ranks. Defaults to doing nothing.
        scale (float): The loss scale of float16. Where the gradient of L_train overflows, no
            step is taken and alpha's is NaN. Defaults to 1.

    Returns:
        tuple[list[Tensor], Tensor]: d L_val / d alpha times the scale, and L_val at w'.

    Raises:
        UserError: The optimizer cannot be unrolled, or ``hessian`` is not known.
    """
    check_hessian(hessian)
    noise = get_random_state()

    def alpha_gradient_of_training() -> list[Tensor]:
        set_random_state(noise)
        with only_training(alphas, weights):
            return gradient_of(scale * train_loss(), alphas)

    with displaced(weights, buffers) as move:
        with only_training(weights, alphas):
            grads = [grad / scale for grad in reduce(gradient_of(scale * train_loss(), weights))]
        # on the device: it is not waited for
        finite = torch.stack([torch.isfinite(grad).all() for grad in grads]).all()
        step = sgd_step(optimizer, weights, grads)
        move([torch.where(finite, delta, 0) for delta in step.delta])
        with only_training((*alphas, *weights), ()):
            loss = val_loss()
            both = gradient_of(scale * loss, (*alphas, *weights))
        after = get_random_state()
        direct = both[: len(alphas)]
        vector = [
            slope / scale * v
            for slope, v in zip(step.slope, reduce(both[len(alphas) :]), strict=True)
        ]
        move(None)
        if hessian == 'autograd':
            set_random_state(noise)
            with only_training((*alphas, *weights), ()):
                grads = gradient_of(scale * train_loss(), weights, create_graph=True)
                product = sum((g * v).sum() for g, v in zip(grads, vector, strict=True))
                implicit = gradient_of(product, alphas)
        else:
            implicit = central_difference(alpha_gradient_of_training, move, vector)
        set_random_state(after)
    found = [torch.where(finite, d + i, torch.nan) for d, i in zip(direct, implicit, strict=True)]
    return found, loss.detach()


@ARCHITECTS.register_module()
class Unrolled(Architect):
    """The gradient of second-order DARTS; see :func:`unrolled`.

    Args:
        hessian (str): ``'finite_difference'`` or ``'autograd'``. Defaults to
            ``'finite_difference'``.

    Raises:
        UserError: ``hessian`` is not known.
    """

    needs_train_batch = True

    def __init__(
        self, hessian: Literal['finite_difference', 'autograd'] = 'finite_difference'
    ) -> None:
        super().__init__()
        check_hessian(hessian)
        self.hessian = hessian

    def __str__(self) -> str:
        return f'second order ({self.hessian})'

    def gradient(self, train_batch: Any, val_batch: Any) -> tuple[list[Tensor], Tensor]:
        """See :meth:`Architect.gradient`.

        Raises:
            UserError: The weight optimizer cannot be unrolled.
        """
        return unrolled(
            partial(self.loss, train_batch),
            partial(self.loss, val_batch),
            self.alphas,
            self.weights,
            self.optim_wrapper.optimizer,
            list(self.model.buffers()),
            self.hessian,
            average,
            self.loss_scale,
        )


def check_hessian(hessian: Any) -> None:
    if hessian not in HESSIANS:
        raise UserError(f"hessian must be 'finite_difference' or 'autograd', but is {hessian!r}")
