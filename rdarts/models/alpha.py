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
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.registry import RELAXATIONS, build
from rdarts.search_spaces import SearchSpace, SpaceSpec, build_space


class AlphaWay:
    """The way from the groups of a cell type to its nodes: one gather, the same in every forward.

    Args:
        space (SearchSpace): Describes the groups.
        cell (str): The cell type.

    Attributes:
        groups (list[str]): The groups of the cell type, whose entries are gathered.
        nodes (dict[int, list[int]]): Node -> the number of candidates of each edge that leaves it.
    """

    def __init__(self, space: SearchSpace, cell: str) -> None:
        topology = space.cells[cell]
        slots = space.slots(cell)
        sizes = {group.name: (len(group.edges), len(group.candidates)) for group in space.groups}
        self.groups = list(dict.fromkeys(name for name, _ in slots))
        starts, start = {}, 0
        for name in self.groups:
            starts[name] = start
            start += math.prod(sizes[name])
        self.nodes: dict[int, list[int]] = {}
        order: list[int] = []
        for node in range(topology.num_nodes):
            for edge in topology.edges_from(node):
                name, row = slots[edge]
                width = sizes[name][1]
                first = starts[name] + row * width
                order += range(first, first + width)
                self.nodes.setdefault(node, []).append(width)
        self._places = order
        self._order: Tensor | None = None
        self._totals = [sum(widths) for widths in self.nodes.values()]

    def order(self, device: torch.device) -> Tensor:
        """Where each weight of each node stands among the groups' entries, [T] on a device."""
        if self._order is not None and self._order.device == device:
            return self._order
        order = torch.tensor(self._places, device=device)
        if not torch.compiler.is_compiling():  # what is traced must not leave its graph
            self._order = order
        return order

    def split(self, weights: Tensor, runs: Iterator[bool] | None) -> dict[int, Mixing]:
        """The mixing of each node.

        Args:
            weights (Tensor): [T] in the order of :meth:`order`.
            runs (Iterator[bool], optional): Whether each of them runs. Defaults to all.
        """
        parts = weights.split(self._totals)
        if runs is None:
            return {node: Mixing(part) for node, part in zip(self.nodes, parts, strict=True)}
        return {
            node: Mixing(part, [[k for k in range(width) if next(runs)] for width in widths])
            for (node, widths), part in zip(self.nodes.items(), parts, strict=True)
        }


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
        self._ways = {cell: AlphaWay(self.space, cell) for cell in self.space.cells}
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

    def mixing(self) -> dict[str, dict[int, Mixing]]:
        """The same for mixed operations: by cell type, and by the node that the edges leave.

        The cells of a type share it. Where the relaxation is ``sampled``, which candidates run is
        read on the host, once.
        """
        weights = self.mixing_weights()
        device = next(iter(weights.values())).device
        flat = {
            cell: torch.cat([weights[name].flatten() for name in way.groups])[way.order(device)]
            for cell, way in self._ways.items()
        }
        runs = None
        if self.relaxation.sampled:
            runs = iter((torch.cat(list(flat.values())) != 0).tolist())
        return {cell: way.split(flat[cell], runs) for cell, way in self._ways.items()}

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
