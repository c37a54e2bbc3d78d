"""The owner of alpha: its groups, its relaxation, and the phase of a search."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from rdarts.configuration.declarations import Component, NotNegative
from rdarts.errors import UserError
from rdarts.registry import RELAXATIONS, build
from rdarts.search_spaces import SpaceSpec, build_space


class AlphaOwner(nn.Module):
    """Alpha, its groups and its relaxation: what the architect and the hooks need of a model.

    ``arch_parameters`` maps the name of each group of the space to alpha, [edges, candidates].
    It is part of the state dict and made with ``requires_grad=False``: the architect alone
    makes it trainable. A supernet is one
    (:class:`~rdarts.models.backbones.base_supernet.BaseSupernet`); whatever mixes candidates by
    alpha may be one.

    Args:
        space (str | dict | SearchSpace): The search space.
        relaxation (str | dict): From alpha to mixing weights. Defaults to ``'rdarts.Softmax'``.
        alpha_std (float): Alpha starts at ``alpha_std`` x N(0, 1). Defaults to 1e-3.
        **kwargs: Of the next class of the method resolution order.

    Attributes:
        drawn (list[Tensor]): Where the relaxation is ``sampled``: which candidates each draw of
            the last :meth:`alpha_phase` chose, bool, one [edges, candidates] a group and draw.

    Raises:
        UserError: The space or relaxation is not known, or ``alpha_std`` is negative.
    """

    def __init__(
        self,
        space: SpaceSpec,
        relaxation: Annotated[str | Mapping[str, Any], Component('RELAXATIONS')] = 'rdarts.Softmax',
        alpha_std: NotNegative = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        number = isinstance(alpha_std, (int, float)) and math.isfinite(alpha_std)
        if not number or alpha_std < 0:
            raise UserError(f'alpha_std must be a number, 0 or more, but is {alpha_std!r}')
        self.space = build_space(space)
        self._phase = 'weights'
        self.drawn: list[Tensor] = []
        self.relaxation = build(relaxation, RELAXATIONS)
        self.arch_parameters = nn.ParameterDict(
            {
                group.name: nn.Parameter(
                    alpha_std * torch.randn(len(group.edges), len(group.candidates)),
                    requires_grad=False,
                )
                for group in self.space.groups
            }
        )

    @property
    def phase(self) -> str:
        """``'weights'``, ``'alpha'`` (in :meth:`alpha_phase`) or ``'eval'``."""
        return self._phase if self.training else 'eval'

    @contextmanager
    def alpha_phase(self) -> Iterator[None]:
        """What runs inside is the architect's step: relaxations are told so. It may be nested."""
        before, self._phase = self._phase, 'alpha'
        if before != 'alpha':
            self.drawn = []  # of the whole step
        try:
            yield
        finally:
            self._phase = before

    def mixing_weights(self) -> dict[str, Tensor]:
        """The relaxed alpha of this phase: group name -> [edges, candidates]."""
        weights = self.relaxation(self.arch_parameters, self.space, self.phase)
        if self.relaxation.sampled and self.phase == 'alpha':
            self.drawn += [beta.detach() != 0 for beta in weights.values()]
        return weights

    def edge_weights(self) -> dict[str, list[Tensor]]:
        """The same by cell type: one [candidates] for each edge of the cell."""
        rows = {name: weights.unbind(0) for name, weights in self.mixing_weights().items()}
        return {
            cell: [rows[group][row] for group, row in self.space.slots(cell)]
            for cell in self.space.cells
        }

    def expected_weights(self) -> dict[str, Tensor]:
        """The weights that alpha stands for, without noise: group name -> [edges, candidates].

        Float64 on the CPU, without a graph; see :meth:`Relaxation.expected_weights`.
        """
        return self.relaxation.expected_weights(self.arch_parameters, self.space)


def find_alpha_owner(model: nn.Module) -> AlphaOwner:
    """What owns alpha in a model, DDP-wrapped or not.

    Raises:
        UserError: Nothing does, or more than one.
    """
    found = [m for m in model.modules() if isinstance(m, AlphaOwner)]
    if len(found) != 1:
        raise UserError(
            f'an architect needs one owner of alpha, such as a supernet, in the model, but '
            f'{type(model).__name__} has {len(found)}'
        )
    return found[0]
