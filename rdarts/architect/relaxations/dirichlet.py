"""The relaxation of DrNAS (https://arxiv.org/abs/2006.10355)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.errors import UserError
from rdarts.registry import RELAXATIONS


def concentration(alpha: Tensor) -> Tensor:
    """Of the Dirichlet distribution of an edge: elu(alpha) + 1, which is positive."""
    return F.elu(alpha) + 1


@RELAXATIONS.register_module()
class Dirichlet(Relaxation):
    """beta ~ Dirichlet(elu(alpha) + 1), with the pathwise gradient of a draw.

    Each forward in training draws anew, all cells of a type alike. In evaluation, and where weights
    are expected, it is the mean, concentration / sum. The published code derives genotypes by
    softmax(alpha) instead, which has the same operation on an edge and may rank edges otherwise:
    ``expects='softmax'``.

    Args:
        expects (str): ``'mean'`` or ``'softmax'``. Defaults to ``'mean'``.
    """

    def __init__(self, expects: Literal['mean', 'softmax'] = 'mean') -> None:
        super().__init__()
        if expects not in ('mean', 'softmax'):
            raise UserError(f"expects of Dirichlet must be 'mean' or 'softmax', not {expects!r}")
        self.expects = expects

    def draw(self, given: Tensor) -> Tensor:
        """A draw for each row of a concentration; differentiable in it."""
        return torch.distributions.Dirichlet(given, validate_args=False).rsample()

    def relax(self, alpha: Tensor, phase: str) -> Tensor:
        """See :meth:`Relaxation.relax`."""
        given = concentration(alpha)
        if phase != 'eval':
            return self.draw(given)
        return (
            alpha.softmax(-1) if self.expects == 'softmax' else given / given.sum(-1, keepdim=True)
        )
