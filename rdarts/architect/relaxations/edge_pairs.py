"""Weights of pairs of edges: the topology search of DOTS (https://arxiv.org/abs/2010.00969)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.configuration.declarations import AboveZero
from rdarts.configuration.schedule import Schedule, ScheduleSpec
from rdarts.errors import UserError
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import CellTopology, EdgeGroup, SearchSpace
from rdarts.utils.index import Index

SUFFIX = '_pairs'


@RELAXATIONS.register_module()
class EdgePairs(Relaxation):
    r"""A node chooses two of the edges into it: all pairs of them compete in one softmax.

    With b of every pair (i, j), i < j, of the edges into a node, in the order of
    ``itertools.combinations``, and a temperature T,

    .. math:: p = \mathrm{softmax}(b / T), \quad w_i = \sum_{j} p_{(i, j)},

    w_i multiplies the whole result of edge i; the weights of the edges into a node add up to 2.
    Each cell type has a group ``<cell>_pairs`` of one b a pair, [pairs, 1], node by node, beside
    the space's own. A node that two edges lead into has one pair, whose weight is 1; a single edge
    weighs 1, too.

    The candidates of an edge that are left, in DOTS the best one of each kind
    (:class:`~rdarts.architect.transitions.keep_by_group.KeepByGroup`), are balanced by
    softmax(alpha / (``balance`` T)). All groups have one optimizer, as published.

    BER acts, as everywhere, on softmax(alpha) of the candidates that are left (Eq. 17), without
    the division: on their balance, whose alpha is so small here that this softmax is near 1 / 2 and
    its gradient near 0. It does not act on pairs.

    Args:
        temperature (float | dict): T, constant or a schedule over epochs: see
            :class:`~rdarts.configuration.schedule.Schedule`. Defaults to 1.
        balance (float): Defaults to 1e-3, as published.

    Raises:
        UserError: A number is not more than 0, or no node of the space has pairs to choose from.
    """

    def __init__(self, temperature: ScheduleSpec = 1.0, balance: AboveZero = 1e-3) -> None:
        schedule = Schedule(temperature, name='temperature of EdgePairs')
        super().__init__(temperature=schedule)
        least = min(value for _, value in schedule.points)
        if least <= 0:
            raise UserError(f'temperature of EdgePairs must be more than 0, but is {least:g}')
        number = isinstance(balance, (int, float)) and not isinstance(balance, bool)
        if not number or not 0 < balance < math.inf:
            raise UserError(f'balance of EdgePairs must be more than 0, but is {balance!r}')
        self.balance = balance
        self._ways: dict[CellTopology, Index] = {}

    def groups(self, space: SearchSpace) -> tuple[EdgeGroup, ...]:
        """See :meth:`Relaxation.groups`."""
        pairs = {cell: pairs_by_node(topology) for cell, topology in space.cells.items()}
        if not any(len(found) > 1 for nodes in pairs.values() for found in nodes.values()):
            raise UserError(
                f"EdgePairs: in the space '{space.name}' no node has more than two edges into it, "
                'so that there are no pairs to choose from'
            )
        own = [
            EdgeGroup(cell + SUFFIX, cell, tuple(range(count)), ('weight',), 'pair')
            for cell, nodes in pairs.items()
            if (count := sum(map(len, nodes.values())))
        ]
        return (*super().groups(space), *own)

    def relax(self, alpha: Tensor, phase: str) -> Tensor:
        """See :meth:`Relaxation.relax`: the balance of an edge's candidates."""
        return (alpha / (self.balance * self.numbers()['temperature'])).softmax(-1)

    def pair_weights(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace
    ) -> dict[str, dict[int, Tensor]]:
        """p of the pairs of every node: cell type -> node -> [pairs].

        Args:
            arch_parameters, space: See :meth:`forward`.
        """
        temperature, found = self.numbers()['temperature'], {}
        for cell, topology in space.cells.items():
            nodes = {node: len(pairs) for node, pairs in pairs_by_node(topology).items()}
            if nodes:
                parts = (arch_parameters[cell + SUFFIX][:, 0] / temperature).split(
                    [*nodes.values()]
                )
                soft = (part.softmax(0) for part in parts)
                found[cell] = dict(zip(nodes, soft, strict=True))
        return found

    def edge_factors(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.edge_factors`."""
        found = {}
        for cell, nodes in self.pair_weights(arch_parameters, space).items():
            topology = space.cells[cell]
            if topology not in self._ways:
                self._ways[topology] = _pairs_of_edges(topology)
            soft = list(nodes.values())
            entries = torch.cat([*soft, soft[0].new_zeros(1), soft[0].new_ones(1)])
            found[cell] = entries[self._ways[topology].on(entries.device)].sum(-1)
        return found


def pairs_by_node(topology: CellTopology) -> dict[int, list[tuple[int, int]]]:
    """Of each node that two edges lead into, or more, the pairs of these edges, in their order."""
    found = {}
    for node in range(topology.num_inputs, topology.num_nodes):
        pairs = list(itertools.combinations(topology.edges_into(node), 2))
        if pairs:
            found[node] = pairs
    return found


def _pairs_of_edges(topology: CellTopology) -> Index:
    """For each edge the places of the pairs that hold it, among all pairs, a 0 and a 1."""
    pairs = [pair for found in pairs_by_node(topology).values() for pair in found]
    zero, one = len(pairs), len(pairs) + 1
    rows = [
        [place for place, pair in enumerate(pairs) if edge in pair] or [one]
        for edge in range(len(topology.edges))
    ]
    width = max(map(len, rows))
    return Index([row + [zero] * (width - len(row)) for row in rows])
