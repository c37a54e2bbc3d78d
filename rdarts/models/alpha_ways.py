"""Where alpha's entries go: to the groups of the candidates that are alive, and to the nodes.

Everything here is an index that is made once, when the space is known or candidates are pruned; a
forward gathers by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rdarts.errors import UserError
from rdarts.models.mixed_ops.mixing import Mixing, Relaxed
from rdarts.search_spaces import SearchSpace
from rdarts.utils.index import Index

ALIVE = 'alive'  # of a state dict, the masks of candidates

Alive = Mapping[str, Sequence[Sequence[bool]]]
"""Cell type -> for each edge, whether each of its candidates is alive."""


class AlphaWays:
    """The ways of a space, all of whose candidates are alive, or some.

    Args:
        space (SearchSpace): The whole space.
        alive (dict, optional): See :data:`Alive`. Defaults to all.

    Attributes:
        whole (SearchSpace): The whole space.
        alive (dict): See :data:`Alive`.
        pruned (bool): Whether ``alive`` was given.
        space (SearchSpace): Of the candidates that are alive; the whole space where all are.
        cells (dict[str, CellWay]): The way of each cell type.

    Raises:
        UserError: A node has no edge that is alive.
    """

    def __init__(self, space: SearchSpace, alive: Alive | None = None) -> None:
        self.whole, self.pruned = space, alive is not None
        self.space = space if alive is None else space.restrict(alive)
        self.alive: Alive = alive or {
            cell: [[True] * len(edge.candidates) for edge in topology.edges]
            for cell, topology in space.cells.items()
        }
        self._groups = [group.name for group in space.groups]
        sizes = [len(group.edges) * len(group.candidates) for group in space.groups]
        starts = dict(zip(self._groups, itertools.accumulate([0, *sizes]), strict=False))
        widths = {group.name: len(group.candidates) for group in space.groups}
        places: dict[str, list[list[int]]] = {
            cell: [
                [starts[name] + row * widths[name] + k for k in range(widths[name])]
                for name, row in space.slots(cell)
            ]
            for cell in space.cells
        }
        self._picks: dict[str, Index] = {}
        if self.pruned:
            for group in self.space.groups:
                rows = [
                    list(itertools.compress(places[group.cell][edge], alive[group.cell][edge]))
                    for edge in group.edges
                ]
                self._picks[group.name] = Index(rows)
            self._full = self._full_order(places, sum(sizes))
        self.cells = {cell: CellWay(self, cell) for cell in space.cells}

    def _full_order(self, places: Mapping[str, list[list[int]]], count: int) -> Index:
        """Of every entry of the whole groups, its place among the alive ones and a zero."""
        total = sum(len(g.edges) * len(g.candidates) for g in self.space.groups)
        order = [total] * count  # the zero's
        at = 0
        for group in self.space.groups:
            for edge in group.edges:
                flags = self.alive[group.cell][edge]
                for place in itertools.compress(places[group.cell][edge], flags):
                    order[place] = at
                    at += 1
        return Index(order)

    def view(self, parameters: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Alpha of the candidates that are alive, by group of :attr:`space`; differentiable.

        Args:
            parameters (dict[str, Tensor]): Group -> [edges, candidates] of the whole space, and
                what groups a relaxation has beside these, which stay as they are.
        """
        # as they are: the flop counter refuses leaves that a module is called with in a plain dict
        if not self.pruned:
            return parameters
        if not any(name in parameters for name in self._groups):
            return parameters  # a relaxation that knows no alpha
        flat = torch.cat([parameters[name].flatten() for name in self._groups])
        found = {name: flat[pick.on(flat.device)] for name, pick in self._picks.items()}
        others = {n: p for n, p in parameters.items() if n not in self._groups}
        return {**found, **others}

    def whole_rows(self, flags: Mapping[str, Sequence[bool]]) -> dict[str, list[bool]]:
        """Flags of the edges of some groups of :attr:`space`, by group of the whole space.

        Args:
            flags (dict[str, Sequence[bool]]): Group -> [edges].

        Returns:
            dict[str, list[bool]]: Groups that have a flag set -> [edges].
        """
        sizes = {group.name: len(group.edges) for group in self.whole.groups}
        found: dict[str, list[bool]] = {}
        for group in self.space.groups:
            slots = self.whole.slots(group.cell)
            for edge in itertools.compress(group.edges, flags.get(group.name, ())):
                name, row = slots[edge]
                found.setdefault(name, [False] * sizes[name])[row] = True
        return found

    def to_whole(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Entries of the groups of :attr:`space` in those of the whole space; 0 where dead.

        Args:
            weights (dict[str, Tensor]): Group -> [edges, candidates].
        """
        if not self.pruned:
            return dict(weights)
        parts = [weights[group.name].flatten() for group in self.space.groups]
        flat = torch.cat([*parts, parts[0].new_zeros(1)])
        flat = flat[self._full.on(flat.device)]
        sizes = [len(g.edges) * len(g.candidates) for g in self.whole.groups]
        return {
            group.name: part.view(len(group.edges), -1)
            for group, part in zip(self.whole.groups, flat.split(sizes), strict=True)
        }


class CellWay:
    """From the groups of a cell type to its nodes.

    Args:
        ways (AlphaWays): Of the space.
        cell (str): The cell type.

    Attributes:
        groups (list[str]): The groups whose entries are gathered.
        nodes (dict[int, list[int]]): Node -> the number of candidates of each edge that leaves it.
        flags (list[bool]): Whether each entry that :meth:`gather` gives is of a candidate that is
            alive.
        places (dict[tuple[int, int], int]): Edge and candidate -> its place in these.
    """

    def __init__(self, ways: AlphaWays, cell: str) -> None:
        topology, slots = ways.whole.cells[cell], ways.space.slots(cell)
        sizes = {g.name: (len(g.edges), len(g.candidates)) for g in ways.space.groups}
        self.groups = list(dict.fromkeys(slot[0] for slot in slots if slot is not None))
        counts = [edges * candidates for edges, candidates in map(sizes.get, self.groups)]
        starts = dict(zip(self.groups, itertools.accumulate([0, *counts]), strict=False))
        zero = sum(counts)
        self.nodes: dict[int, list[int]] = {}
        self.flags: list[bool] = []
        self.places: dict[tuple[int, int], int] = {}
        order: list[int] = []
        edges: list[int] = []
        for node in range(topology.num_nodes):
            for edge in topology.edges_from(node):
                flags, entries = ways.alive[cell][edge], iter(())
                if slots[edge] is not None:
                    name, row = slots[edge]
                    start, width = starts[name], sizes[name][1]
                    entries = iter(range(start + row * width, start + (row + 1) * width))
                self.places.update({(edge, k): len(order) + k for k in range(len(flags))})
                order += [next(entries) if flag else zero for flag in flags]
                self.flags += flags
                edges.append(edge)
                self.nodes.setdefault(node, []).append(len(flags))
        self._order, self._edges = Index(order), Index(edges)
        self._pruned = ways.pruned
        self._totals = [sum(widths) for widths in self.nodes.values()]
        self._counts = [len(widths) for widths in self.nodes.values()]

    def gather(self, entries: Mapping[str, Tensor]) -> Tensor:
        """The entries of all groups in the order of nodes, edges and candidates, [T]; 0 where dead.

        Args:
            entries (dict[str, Tensor]): Group -> [edges, candidates].
        """
        parts = [entries[name].flatten() for name in self.groups]
        if self._pruned:
            parts.append(parts[0].new_zeros(1))
        flat = parts[0] if len(parts) == 1 else torch.cat(parts)
        return flat[self._order.on(flat.device)]

    def split(
        self,
        weights: Tensor,
        active: Sequence[bool] | None,
        edge_factor: Tensor | None = None,
        constant: bool = False,
    ) -> dict[int, Mixing]:
        """The mixing of each node.

        Args:
            weights (Tensor): As :meth:`gather` gave them.
            active (Sequence[bool], optional): Whether each of them runs. Defaults to all that are
                alive.
            edge_factor (Tensor, optional): [edges] of the cell type.
            constant (bool): See :class:`Mixing`.
        """
        parts = weights.split(self._totals)
        factors: Sequence[Tensor | None] = [None] * len(parts)
        if edge_factor is not None:
            factors = edge_factor[self._edges.on(edge_factor.device)].split(self._counts)
        if active is None and self._pruned:
            active = self.flags
        runs = None if active is None else iter(active)
        found = {}
        for (node, widths), part, factor in zip(self.nodes.items(), parts, factors, strict=True):
            chosen = None
            if runs is not None:
                chosen = [[k for k in range(width) if next(runs)] for width in widths]
            found[node] = Mixing(part, chosen, factor, constant)
        return found


def alive_of(space: SearchSpace, masks: Mapping[str, Tensor]) -> Alive | None:
    """What masks of a state dict say: those of all cell types, or none.

    Args:
        space (SearchSpace): The whole space.
        masks (dict[str, Tensor]): Cell type -> bool, [candidates of all edges].

    Raises:
        UserError: They are of other cells.
    """
    if not masks:
        return None
    alive = {}
    for cell, topology in space.cells.items():
        sizes = [len(edge.candidates) for edge in topology.edges]
        mask = masks.get(cell)
        fits = isinstance(mask, Tensor) and mask.dtype == torch.bool
        if not fits or mask.shape != (sum(sizes),) or masks.keys() != space.cells.keys():
            raise UserError(
                f"the masks of candidates, '{ALIVE}', are of another space than '{space.name}'"
            )
        alive[cell] = [part.tolist() for part in mask.split(sizes)]
    return alive


def as_relaxed(value: Tensor | Relaxed, sampled: bool) -> Relaxed:
    """What a relaxation gave of a group, whole.

    Args:
        value (Tensor | Relaxed): The weights alone, or all of it.
        sampled (bool): Whether only candidates whose weight is not 0 run, where it does not say.
    """
    found = value if isinstance(value, Relaxed) else Relaxed(value)
    if found.active is None and sampled:
        found = found._replace(active=found.weights.detach() != 0)
    return found
