"""ReinMax (https://arxiv.org/abs/2304.08612): a straight-through gradient of second order."""

from __future__ import annotations

from torch import Tensor

from rdarts.architect.relaxations.gumbel_softmax import (
    GumbelSoftmax,
    straight_through,
    strongest,
)
from rdarts.configuration.schedule import ScheduleSpec
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.registry import RELAXATIONS


@RELAXATIONS.register_module()
class ReinMax(GumbelSoftmax):
    r"""One candidate drawn from softmax(alpha), with ReinMax's gradient (Algorithm 2).

    With the draw D, pi_0 = softmax(alpha) and pi_1 = (D + softmax(alpha / tau)) / 2, the gradient
    of the weights is that of

    .. math:: 2\,\mathrm{softmax}(\mathrm{sg}(\log \pi_1 - \alpha) + \alpha) - \tfrac12 \pi_0,

    sg: no gradient. It is Heun's method where straight-through is Euler's. The paper is not about
    architectures; no published search uses it.

    Args:
        temperature (float | dict): tau, 1 or more in the paper. Defaults to 1.
    """

    def __init__(self, temperature: ScheduleSpec = 1.0) -> None:
        super().__init__(temperature, hard=True)

    def relax(self, alpha: Tensor, phase: str) -> Tensor | Relaxed:
        """See :meth:`Relaxation.relax`."""
        if phase == 'eval':
            return super().relax(alpha, phase)
        hard = strongest(alpha.detach() - self.noise(alpha).log())
        mean = (hard + (alpha / self.numbers()['temperature']).softmax(-1)) / 2
        shifted = (mean.log() - alpha).detach() + alpha
        path = 2 * shifted.softmax(-1) - 0.5 * alpha.softmax(-1)
        return Relaxed(straight_through(hard, path), hard > 0)
