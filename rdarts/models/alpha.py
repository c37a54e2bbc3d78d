"""The owner of alpha: its groups, its relaxation, and the phase of a search.

Longer than 400 lines: one class, which everything else asks for alpha.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from rdarts.configuration.declarations import Component, NotNegative
from rdarts.errors import UserError
from rdarts.models.alpha_ways import ALIVE, AlphaWays, alive_of, as_relaxed
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing, Relaxed
from rdarts.registry import RELAXATIONS, build
from rdarts.search_spaces import SearchSpace, SpaceSpec, build_space
from rdarts.utils import host

ALPHA = 'arch_parameters'  # of a state dict, alpha


class AlphaOwner(nn.Module):
    """Alpha, its groups and its relaxation: what the architect and the hooks need of a model.

    ``arch_parameters`` maps the name of each group of the space to alpha, [edges, candidates].
    It is part of the state dict and made with ``requires_grad=False``: the architect alone
    makes it trainable. A supernet is one
    (:class:`~rdarts.models.backbones.base_supernet.BaseSupernet`); whatever mixes candidates by
    alpha may be one.

    Candidates can be pruned for good (:meth:`prune`): alpha, its optimizer and the log stay those
    of the whole space, while relaxation, regularisers and discretisation see what is alive
    (:meth:`view`). The state dict holds masks where something was pruned.

    Args:
        space (str | dict | SearchSpace): The search space.
        relaxation (str | dict): From alpha to mixing weights. Defaults to ``'rdarts.Softmax'``.
        alpha_std (float): Alpha starts at ``alpha_std`` x N(0, 1). Defaults to 1e-3.
        **kwargs: Of the next class of the method resolution order.

    Attributes:
        groups (tuple[EdgeGroup, ...]): The groups of alpha that the relaxation asks for.
        cell_types (list[str]): The cell type of each of the network's cells, in order. A subclass
            that calls :meth:`cell_mixings` sets it.
        drawn (list[Tensor]): Where the relaxation samples: which candidates each draw of the last
            :meth:`alpha_phase` chose, bool, one [edges, candidates] a group and draw.
        mixed (dict[str, Relaxed]): What the last forward within :meth:`alpha_phase` mixed by,
            without a graph: group of what is alive -> weights and which candidates ran.
        resting (dict[str, list[bool]]): Group -> the edges whose alpha that forward lets rest; a
            group of which none rests is left out.

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
        self.mixed: dict[str, Relaxed] = {}
        self.resting: dict[str, list[bool]] = {}
        self.cell_types: list[str] = []
        self._shifts: Sequence[Mapping[str, Tensor]] | None = None
        self.relaxation = build(relaxation, RELAXATIONS)
        self.groups = self.relaxation.groups(self.space)
        self._ways = AlphaWays(self.space)
        self._hidden: set[tuple[str, int, int]] = set()
        self._given: Mapping[str, Relaxed] | None = None
        self.arch_parameters = nn.ParameterDict(
            {
                group.name: nn.Parameter(
                    alpha_std * torch.randn(len(group.edges), len(group.candidates)),
                    requires_grad=False,
                )
                for group in self.groups
            }
        )

    # Phases and epochs

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

    def set_progress(self, epoch: int, max_epochs: int) -> None:
        """Tell the relaxation, and mixed operations that ask for it, which epoch begins.

        Args:
            epoch (int): From 0.
            max_epochs (int): Of the schedule.
        """
        for module in self.modules():
            if module is not self and hasattr(module, 'set_progress'):
                module.set_progress(epoch, max_epochs)

    def numbers(self) -> dict[str, dict[str, float]]:
        """The numbers of this epoch, such as a temperature, by name.

        Returns:
            dict[str, dict[str, float]]: Those of the ``'relaxation'`` and of the ``'mixed_op'``;
            what has none is left out.
        """
        mixed: dict[str, float] = {}
        for module in self.modules():
            if isinstance(module, MixedOp):  # all of one kind
                mixed.update(module.numbers())
        found = dict(relaxation=self.relaxation.numbers(), mixed_op=mixed)
        return {what: numbers for what, numbers in found.items() if numbers}

    # What is alive

    @property
    def ways(self) -> AlphaWays:
        """Where the entries of alpha go, with what is alive."""
        return self._ways

    @property
    def alive(self) -> dict[str, list[list[bool]]]:
        """Cell type -> for each edge, whether each of its candidates is alive."""
        return {cell: [list(edge) for edge in edges] for cell, edges in self._ways.alive.items()}

    def prune(self, cell: str, edge: int, candidates: Collection[str]) -> None:
        """Take candidates out of an edge for good.

        Args:
            cell (str): The cell type.
            edge (int): The edge's place in the cell type.
            candidates (Collection[str]): Their names.

        Raises:
            UserError: The edge has no such candidate, or would have none that is alive.
        """
        alive = self.alive
        for name in candidates:
            alive[cell][edge][self._place(cell, edge, name)] = False
        if not any(alive[cell][edge]):
            one = self.space.cells[cell].edges[edge]
            raise UserError(
                f"'{self.space.name}': cell '{cell}', edge {one.source} -> {one.target} needs a "
                'candidate that is alive'
            )
        self._ways = AlphaWays(self.space, alive)

    def drop_edge(self, cell: str, edge: int) -> None:
        """Take a whole edge out for good: all its candidates.

        Args:
            cell, edge: See :meth:`prune`.

        Raises:
            UserError: The node that it leads to would read nothing.
        """
        alive = self.alive
        alive[cell][edge] = [False] * len(alive[cell][edge])
        self._ways = AlphaWays(self.space, alive)

    @contextmanager
    def hide(self, cell: str, edge: int, candidates: Collection[str]) -> Iterator[None]:
        """Within, candidates do not run and have the weight 0; nothing is renormalised.

        Args:
            cell, edge, candidates: See :meth:`prune`.
        """
        before = self._hidden
        places = {(cell, edge, self._place(cell, edge, name)) for name in candidates}
        self._hidden = before | places
        try:
            yield
        finally:
            self._hidden = before

    def _place(self, cell: str, edge: int, name: str) -> int:
        names = self.space.cells[cell].edges[edge].candidates
        if name not in names:
            raise UserError(f"edge {edge} of the cell '{cell}' has no candidate '{name}': {names}")
        return names.index(name)

    @property
    def optional_state(self) -> list[str]:
        """Of the state dict, what is there where something was pruned; and alpha that is not used.

        Where the relaxation has no alpha, that of a supernet whose weights are taken is left out.
        """
        unused = [] if self.groups else [f'{ALPHA}.{group.name}' for group in self.space.groups]
        return [f'{ALIVE}.{cell}' for cell in self.space.cells] + unused

    def _save_to_state_dict(self, destination, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self._ways.pruned:
            for cell, edges in self._ways.alive.items():
                flags = torch.tensor([flag for edge in edges for flag in edge])
                destination[f'{prefix}{ALIVE}.{cell}'] = flags

    def _load_from_state_dict(self, state_dict, prefix: str, *args: Any) -> None:
        start = f'{prefix}{ALIVE}.'
        masks = {
            key.removeprefix(start): state_dict.pop(key)
            for key in list(state_dict)
            if key.startswith(start)
        }
        if not self.groups:
            for group in self.space.groups:
                state_dict.pop(f'{prefix}{ALPHA}.{group.name}', None)
        alive = alive_of(self.space, masks)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._ways = AlphaWays(self.space, alive)

    # What alpha stands for

    def view(
        self, parameters: Mapping[str, Tensor] | None = None
    ) -> tuple[Mapping[str, Tensor], SearchSpace]:
        """Alpha of what is alive, and the space of that.

        Args:
            parameters (dict[str, Tensor], optional): Alpha. Defaults to :attr:`arch_parameters`.

        Returns:
            tuple[dict[str, Tensor], SearchSpace]: Group -> [edges, candidates], which is
            differentiable in the parameters; and the space that has these groups.
        """
        return self._ways.view(parameters or self.arch_parameters), self._ways.space

    def mixing_weights(self) -> dict[str, Tensor]:
        """The relaxed alpha of this phase: group of what is alive -> [edges, candidates]."""
        return {name: relaxed.weights for name, relaxed in self.relaxed().items()}

    def relaxed(self) -> dict[str, Relaxed]:
        """The same, and which candidates run: a draw, where the relaxation samples."""
        return self._relaxed(*self.view())

    @contextmanager
    def mixed_by(self, relaxed: Mapping[str, Relaxed]) -> Iterator[None]:
        """Within, forwards mix by this in the place of what the relaxation gives.

        Args:
            relaxed (dict[str, Relaxed]): What :meth:`relaxed` gave, or the same changed.
        """
        before, self._given = self._given, relaxed
        try:
            yield
        finally:
            self._given = before

    def _relaxed(self, alphas: Mapping[str, Tensor], space: SearchSpace) -> dict[str, Relaxed]:
        if self._given is not None:
            return dict(self._given)
        sampled = self.relaxation.sampled
        relaxed = {
            name: as_relaxed(value, sampled)
            for name, value in self.relaxation(alphas, space, self.phase).items()
        }
        if self.phase == 'alpha':
            self.drawn += [one.active for one in relaxed.values() if one.active is not None]
            self.mixed = {
                name: one._replace(weights=one.weights.detach()) for name, one in relaxed.items()
            }
        return relaxed

    def mixing(self) -> dict[str, dict[int, Mixing]]:
        """The relaxed alpha of this phase, by cell type and by the node that the edges leave.

        The cells of a type share it. Where the relaxation samples, which candidates run is read on
        the host, once.
        """
        return {cell: split() for cell, split in self._splits().items()}

    def cell_mixings(self) -> list[dict[int, Mixing]]:
        """What :meth:`mixing` gives, for each of ``cell_types``; shifted in :meth:`shifted`."""
        splits = self._splits()
        if self._shifts is None:
            shared = {cell: split() for cell, split in splits.items()}
            return [shared[cell] for cell in self.cell_types]
        return [
            splits[cell](self._ways.cells[cell].gather(shift))
            for cell, shift in zip(self.cell_types, self._shifts, strict=True)
        ]

    def _splits(self) -> dict[str, Callable[..., dict[int, Mixing]]]:
        """Cell type -> what gives the mixing of its nodes, with a shift of all weights or none."""
        alphas, space = self.view()
        relaxed = self._relaxed(alphas, space)
        factors = self.relaxation.edge_factors(alphas, space, self.phase)
        weights, active = {}, {}
        for cell, way in self._ways.cells.items():
            weights[cell] = way.gather({name: relaxed[name].weights for name in way.groups})
            runs = {name: relaxed[name].active for name in way.groups}
            if any(flags is not None for flags in runs.values()):
                whole = {
                    name: torch.ones_like(relaxed[name].weights, dtype=torch.bool)
                    if flags is None
                    else flags
                    for name, flags in runs.items()
                }
                active[cell] = way.gather(whole)
        resting = {n: one.resting for n, one in relaxed.items() if one.resting is not None}
        chosen, rests = host.read([active, resting]) if active or resting else ({}, {})
        if self.phase == 'alpha':
            self.resting = self._ways.whole_rows(rests)
        if self._hidden:
            self._hide(weights, chosen)

        def split(cell: str, shift: Tensor | None = None) -> dict[int, Mixing]:
            way, entries = self._ways.cells[cell], weights[cell]
            constant = any(relaxed[name].constant for name in way.groups)
            entries = entries if shift is None else entries + shift
            return way.split(entries, chosen.get(cell), factors.get(cell), constant)

        return {cell: partial(split, cell) for cell in self._ways.cells}

    @contextmanager
    def shifted(self, shifts: Sequence[Mapping[str, Tensor]]) -> Iterator[None]:
        """Within, each cell's mixing weights are alpha's relaxed ones and a term of its own.

        A gradient with respect to zeros that are added is one with respect to the mixing weights
        of that cell.

        Args:
            shifts (Sequence[dict[str, Tensor]]): For each of ``cell_types``: group of what is
                alive -> [edges, candidates], for the groups of its cell type.
        """
        before, self._shifts = self._shifts, shifts
        try:
            yield
        finally:
            self._shifts = before

    def zero_shifts(self) -> list[dict[str, Tensor]]:
        """Zeros for :meth:`shifted`, of alpha's type and device.

        Raises:
            UserError: The network does not tell its cells apart.
        """
        if not self.cell_types:
            raise UserError(
                f'{type(self).__name__} does not tell its cells apart, which this method needs: '
                'set cell_types, and take the mixing of each cell from cell_mixings()'
            )
        own = next(iter(self.arch_parameters.values()))
        sizes = {g.name: (len(g.edges), len(g.candidates)) for g in self._ways.space.groups}
        return [
            {name: own.new_zeros(sizes[name]) for name in self._ways.cells[cell].groups}
            for cell in self.cell_types
        ]

    def _hide(self, weights: dict[str, Tensor], chosen: dict[str, list[bool]]) -> None:
        """Clear the weight and the activity of what is hidden."""
        for cell, edge, candidate in self._hidden:
            way = self._ways.cells[cell]
            place = way.places[edge, candidate]
            chosen.setdefault(cell, list(way.flags))[place] = False
            keep = torch.ones_like(weights[cell])
            keep[place] = 0
            weights[cell] = weights[cell] * keep

    def expected_weights(self) -> dict[str, Tensor]:
        """The weights that alpha stands for, without noise: group name -> [edges, candidates].

        Those of the whole space, 0 where a candidate was pruned, in float64 on the CPU, without a
        graph; see :meth:`Relaxation.expected_weights`.
        """
        return self._ways.to_whole(self.relaxation.expected_weights(*self.view()))


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
