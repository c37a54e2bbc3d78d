"""iDARTS: the implicit gradient by a Neumann series (https://arxiv.org/abs/2106.10784)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rdarts.architect.architect import Architect
from rdarts.architect.architects.unrolled import FD_RADIUS, central_difference, check_hessian
from rdarts.architect.gradients import (
    LossFunction,
    average,
    displaced,
    gradient_of,
    only_training,
)
from rdarts.configuration.declarations import Count
from rdarts.errors import UserError
from rdarts.registry import ARCHITECTS
from rdarts.utils.random_state import get_random_state, set_random_state


def neumann(
    train_loss: LossFunction,
    val_loss: LossFunction,
    alphas: Sequence[nn.Parameter],
    weights: Sequence[nn.Parameter],
    lr: Sequence[float],
    terms: int = 2,
    buffers: Sequence[Tensor] = (),
    hessian: str = 'finite_difference',
    reduce: Callable[[list[Tensor]], list[Tensor]] = lambda grads: grads,
    scale: float = 1.0,
) -> tuple[list[Tensor], Tensor, list[list[Tensor]]]:
    r"""Eq. 9: the gradient of alpha through the weights that inner steps have led to.

    With v = d L_val / d w and H the Hessian of L_train with respect to w, at the weights of now,

    .. math:: \nabla_\alpha L_{val} - \gamma\, \nabla_\alpha \nabla_w L_{train} \cdot
        \sum_{j=0}^{K} (I - \gamma H)^j v,

    gamma the learning rate. K = 0 is DARTS's second order without its virtual step; as K grows it
    becomes the implicit gradient, with the inverse of H. Momentum and weight decay are in none of
    the terms, as published. Weights and buffers are left as they were, bit by bit; every evaluation
    of L_train draws the same noise.

    Args:
        train_loss (Callable): Computes L_train at the current weights and alpha.
        val_loss (Callable): Computes L_val.
        alphas (Sequence[Parameter]): Alpha.
        weights (Sequence[Parameter]): The trainable weights.
        lr (Sequence[float]): gamma, of each weight.
        terms (int): K. Defaults to 2.
        buffers (Sequence[Tensor]): What the losses change and must be restored.
        hessian (str): ``'finite_difference'`` or ``'autograd'``.
        reduce (Callable): Averages gradients over ranks. Defaults to doing nothing.
        scale (float): The loss scale of float16. Defaults to 1.

    Returns:
        tuple[list[Tensor], Tensor, list[list[Tensor]]]: d L_val / d alpha times the scale, L_val,
        and the terms of the series, 0 to K, without the scale.
    """
    noise = get_random_state()

    def training(wanted: Sequence[Tensor], frozen: Sequence[Tensor]) -> list[Tensor]:
        set_random_state(noise)
        with only_training(wanted, frozen):
            return [grad / scale for grad in gradient_of(scale * train_loss(), wanted)]

    def along(wanted: Sequence[Tensor], frozen: Sequence[Tensor], v: list[Tensor]) -> list[Tensor]:
        """d (d L_train / d w . v) / d what is wanted."""
        if hessian != 'autograd':
            return central_difference(partial(training, wanted, frozen), move, v)
        set_random_state(noise)
        with only_training((*alphas, *weights), ()):
            grads = gradient_of(scale * train_loss(), weights, create_graph=True)
            product = sum((g * one).sum() for g, one in zip(grads, v, strict=True))
            return [grad / scale for grad in gradient_of(product, wanted)]

    with displaced(weights, buffers) as move:
        with only_training((*alphas, *weights), ()):
            loss = val_loss()
            both = gradient_of(scale * loss, (*alphas, *weights))
        after = get_random_state()
        direct = both[: len(alphas)]
        series = [reduce([grad / scale for grad in both[len(alphas) :]])]
        for _ in range(terms):
            product = reduce(along(weights, alphas, series[-1]))
            series.append([p - g * hp for p, g, hp in zip(series[-1], lr, product, strict=True)])
        total = [g * sum(parts) for g, parts in zip(lr, zip(*series, strict=True), strict=True)]
        implicit = along(alphas, weights, total)
        set_random_state(after)
    grads = [d - scale * i for d, i in zip(direct, implicit, strict=True)]
    return grads, loss.detach(), series


@ARCHITECTS.register_module()
class Neumann(Architect):
    """The gradient of iDARTS; see :func:`neumann`.

    Alpha moves after T steps of the weights: the hook's ``every=T`` and
    ``step_order='weights_first'``. L_train is that of the last of their batches.

    The published notebook differs. Its inner steps move a copy of the optimizer and leave the
    network where it is, there is no other step of the weights, and what is to put them back after
    the finite differences leaves them off by -R (p_1 + ... + p_K), p the terms and R = 1e-2 / ||v||
    the radius: a step of about .02 down the gradient of L_val, which is all that trains its
    network. ``as_published=True`` does that.

    Args:
        terms (int): K. Defaults to 2.
        hessian (str): ``'finite_difference'`` or ``'autograd'``. Defaults to
            ``'finite_difference'``.
        as_published (bool): See above. Defaults to False.

    Raises:
        UserError: An argument is out of its range.
    """

    needs_train_batch = True

    def __init__(
        self,
        terms: Count = 2,
        hessian: Literal['finite_difference', 'autograd'] = 'finite_difference',
        as_published: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(terms, int) or isinstance(terms, bool) or terms < 0:
            raise UserError(f'terms of Neumann must be a number, 0 or more, but is {terms!r}')
        check_hessian(hessian)
        self.terms, self.hessian, self.as_published = terms, hessian, as_published

    def __str__(self) -> str:
        published = ', as published: no other step of the weights' if self.as_published else ''
        return f'implicit gradient ({self.terms} terms, {self.hessian}{published})'

    def gradient(self, train_batch: Any, val_batch: Any) -> tuple[list[Tensor], Tensor]:
        """See :meth:`Architect.gradient`."""
        weights = self.weights
        grads, loss, series = neumann(
            partial(self.loss, train_batch),
            partial(self.loss, val_batch),
            self.alphas,
            weights,
            self._rates(weights),
            self.terms,
            list(self.model.buffers()),
            self.hessian,
            average,
            self.loss_scale,
        )
        if self.as_published:
            norm = torch.stack([v.norm() for v in series[0]]).norm()
            with torch.no_grad():
                for weight, parts in zip(weights, zip(*series[1:], strict=True), strict=False):
                    weight.sub_(FD_RADIUS / norm * sum(parts))
        return grads, loss

    def _rates(self, weights: Sequence[nn.Parameter]) -> list[float]:
        groups = self.optim_wrapper.optimizer.param_groups
        rates = {id(p): group['lr'] for group in groups for p in group['params']}
        return [rates.get(id(weight), 0.0) for weight in weights]

    def train_step(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """See :meth:`Architect.train_step`."""
        return {} if self.as_published else super().train_step(model, batch)
