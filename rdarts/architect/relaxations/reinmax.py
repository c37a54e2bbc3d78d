"""ReinMax (https://arxiv.org/abs/2304.08612): a straight-through gradient of second order."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rdarts.architect.relaxations.gumbel_softmax import GumbelSoftmax
from rdarts.configuration.schedule import ScheduleSpec
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import SearchSpace


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

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor | Relaxed]:
        """See :meth:`Relaxation.forward`."""
        if phase == 'eval':
            return super().forward(arch_parameters, space, phase)
        found: dict[str, Tensor | Relaxed] = {}
        tau = self.temperature.at(self.epoch)
        for group in space.groups:
            alpha = arch_parameters[group.name]
            drawn = self.harden(alpha.detach() - self.noise(alpha).log())
            first = (drawn + (alpha / tau).softmax(-1)) / 2
            shifted = (first.log() - alpha).detach() + alpha
            path = 2 * shifted.softmax(-1) - 0.5 * alpha.softmax(-1)
            weights = path - path.detach() + drawn
            weights = weights + (drawn - weights).detach()
            found[group.name] = Relaxed(weights, drawn > 0)
        return found
