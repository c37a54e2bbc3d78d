"""The anchor of DrNAS (https://arxiv.org/abs/2006.10355)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from rdarts.architect.regularizers.base import Regularizer
from rdarts.architect.relaxations.dirichlet import concentration
from rdarts.configuration.schedule import ScheduleSpec
from rdarts.registry import REGULARIZERS
from rdarts.search_spaces import SearchSpace


@REGULARIZERS.register_module()
class DirichletKL(Regularizer):
    r"""The distance of alpha's Dirichlet distributions to the flat one (Eq. 4 of the paper).

    .. math:: R(\alpha) = \sum_k \mathrm{KL}(\mathrm{Dir}(\mathrm{elu}(\alpha_k) + 1)
        \,\|\, \mathrm{Dir}(1))

    The sum, not the mean, over edges, as published; lambda is 1e-3 there. DrNAS's default anchor
    is another: the weight decay of alpha's Adam, 1e-3, which pulls alpha to 0. The published code
    has either; here this term stands beside the decay unless ``arch_optimizer.weight_decay`` is 0.

    Args:
        lambda_ (float | dict): See :class:`Regularizer`. Defaults to 1e-3.
        signed (bool): Likewise.
    """

    def __init__(self, lambda_: ScheduleSpec = 1e-3, signed: bool = False) -> None:
        super().__init__(lambda_, signed)

    def __call__(self, arch_parameters: Mapping[str, Tensor], space: SearchSpace) -> Tensor:
        """See :meth:`Regularizer.__call__`."""
        rows = []
        for group in space.groups:
            given = concentration(arch_parameters[group.name])
            flat = Dirichlet(torch.ones_like(given), validate_args=False)
            rows.append(kl_divergence(Dirichlet(given, validate_args=False), flat))
        return torch.cat(rows).sum()
