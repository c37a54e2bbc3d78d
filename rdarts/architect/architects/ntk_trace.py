"""NASI: alpha from the neural tangent kernel at initialisation (https://arxiv.org/abs/2109.00817)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rdarts.architect.architect import Architect
from rdarts.architect.gradients import average, gradient_of, only_training
from rdarts.checkpoint.schema import Spec, Table, TensorOf
from rdarts.configuration.declarations import AboveZero, NotNegative
from rdarts.errors import UserError
from rdarts.registry import ARCHITECTS


@ARCHITECTS.register_module()
class NTKTrace(Architect):
    r"""Climbs the trace of the kernel of networks that are never trained, up to a bound.

    With the gradient g of a batch's mean loss with respect to the weights at initialisation, the
    trace is :math:`\mathrm{tr} = \|g\|^2` (Eq. 12 without its constants), and alpha climbs
    (Eq. 13)

    .. math:: R = \mathrm{tr} - \mu \max(0, \mathrm{tr} - \nu),

    by steps of its gradient G over the largest norm that G has had so far, of all alpha together
    (Eq. 18). Alpha's optimizer has the rate xi / T for T steps, 1 / 100 in the paper, and no
    momentum. No weight is trained: a step of the weights does nothing. Regularisers are refused:
    there is no L_val that they could be added to.

    There is no official code. How candidates are drawn is the relaxation's: the text has Gumbel
    noise, neither a temperature nor whether one candidate alone runs. With ``adaptive``
    (NASI-ADA), nu is the mean trace of the networks drawn so far, after the given one in the
    first step; the text at hand says that it adapts, not how.

    Args:
        mu (float): Of the bound. Defaults to 2.
        nu (float): The bound. Defaults to 100.
        adaptive (bool): Whether nu adapts. Defaults to False.

    The trace and nu of a step are in the log.

    Raises:
        UserError: mu is negative or nu not above 0.
    """

    takes_regularizers = False
    trains_weights = False

    def __init__(
        self, mu: NotNegative = 2.0, nu: AboveZero = 100.0, adaptive: bool = False
    ) -> None:
        super().__init__()
        if mu < 0 or not nu > 0:
            raise UserError(
                f'NTKTrace: mu must be 0 or more and nu more than 0, but are {mu!r} and {nu!r}'
            )
        self.mu, self.nu, self.adaptive = mu, nu, adaptive
        # in double precision, as float32 would lose small traces of a sum over many
        self._largest, self._sum = torch.zeros(()).double(), torch.zeros(()).double()

    def __str__(self) -> str:
        bound = 'adaptive nu from' if self.adaptive else 'nu'
        return f'trace of the neural tangent kernel (mu {self.mu:g}, {bound} {self.nu:g})'

    def own_state(self) -> dict[str, Any]:
        """See :meth:`Architect.own_state`."""
        return dict(largest=self._largest.cpu(), sum=self._sum.cpu())

    def own_spec(self) -> Spec:
        """See :meth:`Architect.own_spec`."""
        number = TensorOf((), torch.float64, 0)
        return Table(dict(largest=number, sum=number))

    def load_own_state(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Architect.load_own_state`."""
        self._largest, self._sum = state['largest'], state['sum']

    def gradient(self, train_batch: Any, val_batch: Any) -> tuple[list[Tensor], Tensor]:
        """See :meth:`Architect.gradient`: of -R, over its largest norm so far."""
        weights, scale = self.weights, self.loss_scale
        with only_training((*self.alphas, *weights), ()):
            loss = self.loss(val_batch)
            slopes = gradient_of(scale * loss, weights, create_graph=True)
            # over several ranks the trace is that of the mean gradient
            mean = [slope / scale for slope in average([slope.detach() for slope in slopes])]
            trace = sum(slope.double().square().sum() for slope in mean)
            product = sum((slope * g).sum() for slope, g in zip(slopes, mean, strict=True))
            grads = [2 * g for g in gradient_of(product, self.alphas)]
        grads = self.climb([g / scale for g in average(grads)], trace)
        return [-scale * grad for grad in grads], loss.detach()

    def climb(self, grads: list[Tensor], trace: Tensor) -> list[Tensor]:
        """G over its largest norm so far: how far a step of xi = T goes.

        Args:
            grads (list[Tensor]): d tr / d alpha of each group.
            trace (Tensor): tr.
        """
        device = trace.device
        self._largest, self._sum = self._largest.to(device), self._sum.to(device)
        nu = torch.full_like(trace, self.nu)
        if self.adaptive and self.steps:
            nu = self._sum / self.steps
        slope = 1 - self.mu * (trace > nu)  # d R / d tr
        grads = [slope * grad for grad in grads]
        norm = torch.stack([grad.double().norm() for grad in grads]).norm()
        # a step that overflowed in float16 is left out, and must not bound those after it
        fits = torch.isfinite(norm) & torch.isfinite(trace)
        self._largest = torch.where(fits, torch.maximum(self._largest, norm), self._largest)
        self._sum = torch.where(fits, self._sum + trace, self._sum)
        self.row = dict(trace=trace, nu=nu)
        least = torch.finfo(torch.float64).tiny
        return [(grad / self._largest.clamp_min(least)).to(grad.dtype) for grad in grads]

    def train_step(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """See :meth:`Architect.train_step`: no weight is trained."""
        return {}
