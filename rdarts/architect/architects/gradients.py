"""d L_val / d alpha: first order, and unrolled through one virtual weight step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from rdarts.errors import UserError
from rdarts.utils.random_state import get_random_state, set_random_state

LossFunction = Callable[[], Tensor]
FD_RADIUS = 1e-2


@contextmanager
def only_learning(opened: Sequence[Tensor], closed: Sequence[Tensor]) -> Iterator[None]:
    """Within, gradients are taken of ``opened`` and not of ``closed``."""
    before = [(tensor, tensor.requires_grad) for tensor in (*opened, *closed)]
    for tensor in opened:
        tensor.requires_grad_(True)
    for tensor in closed:
        tensor.requires_grad_(False)
    try:
        yield
    finally:
        for tensor, flag in before:
            tensor.requires_grad_(flag)


def _grad(output: Tensor, inputs: Sequence[Tensor], create_graph: bool = False) -> list[Tensor]:
    grads = torch.autograd.grad(output, inputs, create_graph=create_graph, allow_unused=True)
    return [
        torch.zeros_like(x) if grad is None else grad for x, grad in zip(inputs, grads, strict=True)
    ]


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
        weights (Sequence[Parameter]): The learning weights.
        scale (float): The loss scale of float16. Defaults to 1.

    Returns:
        tuple[list[Tensor], Tensor]: d L_val / d alpha times the scale, and L_val.
    """
    with only_learning(alphas, weights):
        loss = val_loss()
        grads = _grad(scale * loss, alphas)
    return grads, loss.detach()


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
        weights (Sequence[Parameter]): The learning weights.
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
    if hessian not in ('finite_difference', 'autograd'):
        raise UserError(f"hessian must be 'finite_difference' or 'autograd', but is {hessian!r}")
    saved = [weight.detach().clone() for weight in weights]
    saved_buffers = [buffer.detach().clone() for buffer in buffers]
    noise = get_random_state()

    def move(deltas: Sequence[Tensor] | None, scale: float = 1.0) -> None:
        with torch.no_grad():
            for i, (weight, start) in enumerate(zip(weights, saved, strict=True)):
                weight.copy_(start if deltas is None else start + scale * deltas[i])

    def alpha_gradient_of_training() -> list[Tensor]:
        set_random_state(noise)
        with only_learning(alphas, weights):
            return _grad(scale * train_loss(), alphas)

    try:
        with only_learning(weights, alphas):
            grads = [grad / scale for grad in reduce(_grad(scale * train_loss(), weights))]
        if not all(bool(torch.isfinite(grad).all()) for grad in grads):
            with torch.no_grad():
                return [torch.full_like(alpha, torch.nan) for alpha in alphas], val_loss()
        step = sgd_step(optimizer, weights, grads)
        move(step.delta)
        with only_learning((*alphas, *weights), ()):
            loss = val_loss()
            both = _grad(scale * loss, (*alphas, *weights))
        after = get_random_state()
        direct = both[: len(alphas)]
        vector = [
            slope / scale * v
            for slope, v in zip(step.slope, reduce(both[len(alphas) :]), strict=True)
        ]
        move(None)
        if hessian == 'autograd':
            set_random_state(noise)
            with only_learning((*alphas, *weights), ()):
                grads = _grad(scale * train_loss(), weights, create_graph=True)
                product = sum((g * v).sum() for g, v in zip(grads, vector, strict=True))
                implicit = _grad(product, alphas)
        else:
            norm = torch.stack([v.norm() for v in vector]).norm()
            if norm != 0:
                radius = float(FD_RADIUS / norm)
                move(vector, radius)
                plus = alpha_gradient_of_training()
                move(vector, -radius)
                minus = alpha_gradient_of_training()
                implicit = [(p - m) / (2 * radius) for p, m in zip(plus, minus, strict=True)]
            else:
                implicit = [torch.zeros_like(alpha) for alpha in alphas]
        set_random_state(after)
    finally:
        move(None)
        with torch.no_grad():
            for buffer, start in zip(buffers, saved_buffers, strict=True):
                buffer.copy_(start)
    return [d + i for d, i in zip(direct, implicit, strict=True)], loss.detach()
