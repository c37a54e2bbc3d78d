"""Weights that learn to have all cells ask the same of alpha: Lambda-DARTS
(https://arxiv.org/abs/2210.07998)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rdarts.architect.architects.first_order import FirstOrder
from rdarts.architect.gradients import average, displaced, gradient_of
from rdarts.configuration.declarations import AboveZero
from rdarts.configuration.schedule import Schedule, ScheduleSpec
from rdarts.errors import UserError
from rdarts.registry import ARCHITECTS
from rdarts.utils.random_state import get_random_state, set_random_state


@ARCHITECTS.register_module()
class LayerAlignment(FirstOrder):
    r"""The weights' step is along grad_w (L_train - lambda Lambda), with the layer alignment

    Lambda = 2 / (M (M - 1)) sum_{i < j} cos(g_i, g_j),

    where g_l = d L_train / d (mixing weights of cell l), of the M cells of one type. Its gradient
    is one along the weights through alpha's, taken by a finite difference: with u_l = eps
    d Lambda / d g_l and eps = eps_0 / \|d Lambda / d g\|,

    grad_w Lambda = (grad_w L_train(beta + u) - grad_w L_train(beta - u)) / (2 eps),

    two more forward and backward passes over the batch of the step, in training mode and with the
    noise of the first. Cells of other types are left as they are in these. Alpha's own gradient is
    that of first-order DARTS. Of several ranks, g_l and the correction are averaged.

    The two passes of the published code move the running statistics of batch norms, which so move
    three times a step; here they move once. It also clips the gradients of weights and alpha
    together; here those of the weights alone. In float16 or bfloat16 the difference of the passes
    is mostly rounding.

    Args:
        lambda_ (float | dict): The factor, constant or a schedule over epochs: see
            :class:`~rdarts.configuration.schedule.Schedule`. In epochs in which it is 0 no pass is
            added. Defaults to .125.
        cell (str): The cell type. Defaults to ``'normal'``.
        epsilon (float): eps_0. Defaults to 1e-4.
        moves_statistics (bool): Whether the two passes move running statistics, as published.
            Defaults to False.

    Raises:
        UserError: lambda is negative, or epsilon is not more than 0.
    """

    def __init__(
        self,
        lambda_: ScheduleSpec = 0.125,
        cell: str = 'normal',
        epsilon: AboveZero = 1e-4,
        moves_statistics: bool = False,
    ) -> None:
        super().__init__()
        name = f'lambda_ of {type(self).__name__}'
        self.schedules = dict(lambda_=Schedule(lambda_, name=name, minimum=0.0))
        if not epsilon > 0:
            raise UserError(f'epsilon must be more than 0, but is {epsilon!r}')
        self.cell, self.epsilon, self.moves_statistics = cell, epsilon, moves_statistics

    def __str__(self) -> str:
        return f"first order, weights that align the cells of type '{self.cell}'"

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """See :meth:`Architect.prepare`.

        Raises:
            UserError: There are less than two cells of the type, or gradients of the weights are
                accumulated over several batches.
        """
        super().prepare(*args, **kwargs)
        count = self.owner.cell_types.count(self.cell)
        if count < 2:
            raise UserError(
                f'{type(self).__name__} compares cells of one type, at least two, but the network '
                f"has {count} of the type '{self.cell}': set cell to one of "
                f'{", ".join(sorted(set(self.owner.cell_types))) or "none"}'
            )
        if getattr(self.optim_wrapper, '_accumulative_counts', 1) != 1:
            raise UserError(
                f'{type(self).__name__} corrects the gradient of one batch: set '
                'optim_wrapper.accumulative_counts=1'
            )
        self._buffers = list(self.model.buffers())

    def train_step(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """See :meth:`Architect.train_step`."""
        zeros = self.owner.zero_shifts()
        self._layers = [
            {name: zero.requires_grad_(True) for name, zero in own.items()}
            for own, kind in zip(zeros, self.owner.cell_types, strict=True)
            if kind == self.cell
        ]
        self._batch, self._noise = batch, get_random_state()
        with self.owner.shifted(zeros):
            return super().train_step(model, batch)

    def before_clip(self, loss: Tensor) -> None:
        """See :meth:`Architect.before_clip`: adds -lambda grad_w Lambda."""
        scale = self.weights_loss_scale
        found = [torch.cat([one.grad.flatten() for one in own.values()]) for own in self._layers]
        alignment, slope = layer_alignment(torch.stack(average(found)) / scale)
        self.row = dict(layer_alignment=alignment)
        lambda_ = self.numbers()['lambda_']
        if not lambda_:
            return
        # of a loss that overflowed in float16 there is nothing to correct: the step is left out
        slope = torch.where(torch.isfinite(slope).all(), slope, 0)
        norm = slope.norm()
        shift = self.epsilon * slope / torch.where(norm > 0, norm, 1)
        after = get_random_state()
        with displaced((), () if self.moves_statistics else self._buffers):
            below = self._gradient_at(-shift, scale)
            above = self._gradient_at(shift, scale)
        set_random_state(after)
        factor = lambda_ * norm / (2 * self.epsilon * scale)
        changes = average([low - high for low, high in zip(below, above, strict=True)])
        for weight, change in zip(self.weights, changes, strict=True):
            if weight.grad is not None:
                weight.grad.add_(factor * change)

    def _gradient_at(self, shift: Tensor, scale: Tensor) -> list[Tensor]:
        """grad_w L_train times the scale, where the cells' mixing weights are moved.

        Args:
            shift (Tensor): [cells of the type, their entries].
            scale (Tensor): The loss scale.
        """
        rows = iter(shift)
        shifts = [
            _split(next(rows), own) if kind == self.cell else own
            for own, kind in zip(self.owner.zero_shifts(), self.owner.cell_types, strict=True)
        ]
        set_random_state(self._noise)
        with self.owner.shifted(shifts):
            return gradient_of(scale * self.weights_loss(self._batch), self.weights)


def layer_alignment(grads: Tensor) -> tuple[Tensor, Tensor]:
    """Lambda, the mean cosine over pairs of rows, and its gradient.

    Args:
        grads (Tensor): g_l, [M, entries]. A row of zeros has the cosine 0 with any.

    Returns:
        tuple[Tensor, Tensor]: Lambda, and d Lambda / d g, [M, entries].
    """
    norms = grads.norm(dim=1, keepdim=True)
    norms = torch.where(norms > 0, norms, 1)
    units = grads / norms
    others = units.sum(0) - units
    pairs = len(grads) * (len(grads) - 1) / 2
    cosines = (units * others).sum(1, keepdim=True)
    return cosines.sum() / (2 * pairs), (others - cosines * units) / (pairs * norms)


def _split(row: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a cell by group."""
    parts = row.split([one.numel() for one in like.values()])
    return {name: part.view_as(like[name]) for name, part in zip(like, parts, strict=True)}
