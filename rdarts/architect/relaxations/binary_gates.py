"""Gates of 0 and 1 over sampled paths: ProxylessNAS (https://arxiv.org/abs/1812.00332)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.architect.relaxations.gumbel_softmax import straight_through, strongest
from rdarts.errors import UserError
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.models.operations import check_operations
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import SearchSpace

PATHS = ('two', 'all', 'one')


@RELAXATIONS.register_module()
class BinaryGates(Relaxation):
    r"""One candidate an edge is drawn from p = softmax(alpha), and alone has the gate 1 (Eq. 2).

    In the weights' step nothing else runs. In alpha's step others run too, with the gate 0: their
    results are not added, nor does the input or a weight get a gradient through them, but their
    gates do, and with them alpha (Eq. 4):

    .. math:: \frac{\partial L}{\partial \alpha_i}
        = \sum_j \frac{\partial L}{\partial g_j} p_j (\delta_{ij} - p_i).

    ``paths='two'``, the paper's: two candidates are drawn from p without replacement, one of these
    from their own softmax of two, which p is in the gradient; alpha of the others has none. The
    architect :class:`~rdarts.architect.architects.sampled_paths.SampledPaths` steps accordingly.
    ``'all'``: every candidate runs, p is that of all; the published code's ``full`` and
    ``full_v2``, its default, which are the same numbers. ``'one'``: that which is drawn alone, for
    an architect that takes no gradient through the network.

    Where the candidate that is drawn is one of ``zero``, the published code lets the edge's alpha
    rest in that step (``resting`` of
    :class:`~rdarts.models.mixed_ops.mixing.Relaxed`), of which the paper says nothing.

    Each forward in training draws anew, all cells of a type alike. In evaluation it is the most
    probable candidate.

    Args:
        paths (str): ``'two'``, ``'all'`` or ``'one'``. Defaults to ``'two'``.
        zero (Sequence[str]): Candidates that stand for the published Zero operation. Defaults to
            ``none``.

    Raises:
        UserError: ``paths`` is not known, or no operation has a name of ``zero``.
    """

    sampled = True

    def __init__(
        self,
        paths: Literal['two', 'all', 'one'] = 'two',
        zero: Annotated[Collection[str], MinLen(0)] = ('none',),
    ) -> None:
        super().__init__()
        if paths not in PATHS:
            raise UserError(f'paths of BinaryGates must be one of {PATHS}, but is {paths!r}')
        check_operations(zero, 'zero of BinaryGates')
        self.paths, self.zero = paths, frozenset(zero)
        if paths == 'one':
            self.no_gradient = "paths='one' runs what was drawn alone: set paths='two' or 'all'"

    def noise(self, alpha: Tensor) -> Tensor:
        """Numbers E of the exponential distribution, of alpha's shape.

        The largest of alpha - log E is a draw from softmax(alpha), and the two largest are two
        without replacement; nothing waits for a device.
        """
        return torch.empty_like(alpha).exponential_()

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor | Relaxed]:
        """See :meth:`Relaxation.forward`."""
        found = {}
        for group in space.groups:
            relaxed = self.relax(arch_parameters[group.name], phase)
            zero = [k for k, name in enumerate(group.candidates) if name in self.zero]
            if zero and phase == 'alpha':
                # an index would be copied to the device in each step of alpha
                weights = relaxed.weights.detach()
                rests = torch.cat([weights[:, k : k + 1] for k in zero], -1).sum(-1) > 0
                relaxed = relaxed._replace(resting=rests)
            found[group.name] = relaxed
        return found

    def relax(self, alpha: Tensor, phase: str) -> Relaxed:
        """See :meth:`Relaxation.relax`."""
        if phase == 'eval':
            hard = strongest(alpha.detach())
            return Relaxed(hard, hard > 0)
        keys = alpha.detach() - self.noise(alpha).log()
        if phase == 'weights' or self.paths == 'one':
            hard = strongest(keys)
            return Relaxed(hard, hard > 0)
        if self.paths == 'all':
            active = torch.ones_like(alpha, dtype=torch.bool)
            return Relaxed(straight_through(strongest(keys), alpha.softmax(-1)), active)
        count = min(2, alpha.shape[-1])
        active = torch.zeros_like(alpha, dtype=torch.bool)
        active = active.scatter_(-1, keys.topk(count).indices, True)
        again = alpha.detach() - self.noise(alpha).log()
        hard = strongest(again.masked_fill(~active, -torch.inf))
        return Relaxed(straight_through(hard, _softmax_of(alpha, active)), active)

    def expected(
        self,
        arch_parameters: Mapping[str, Tensor],
        space: SearchSpace,
        drawn: Mapping[str, Relaxed] | None = None,
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.expected`: of a draw, the softmax of the candidates that ran."""
        if drawn is None:
            return super().expected(arch_parameters, space)
        names = [group.name for group in space.groups]
        return {name: _softmax_of(arch_parameters[name], drawn[name].active) for name in names}


def _softmax_of(alpha: Tensor, active: Tensor) -> Tensor:
    """The softmax of some candidates of each edge, 0 for the others."""
    return alpha.masked_fill(~active, -torch.inf).softmax(-1)
