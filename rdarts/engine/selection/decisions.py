"""What a selection decides, in which order and when, and what it tries for that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from rdarts.errors import UserError
from rdarts.models.alpha import AlphaOwner
from rdarts.search_spaces import CellTopology, SearchSpace

OPERATION, EDGES = 'operation', 'edges'


class Decision(NamedTuple):
    """One thing that is decided: the operation of an edge, or the edges of a node.

    Args:
        turn (int): From 0; what has the same turn is decided at one time.
        kind (str): ``'operation'`` or ``'edges'``.
        cell (str): The cell type.
        place (int): Of the edge in the cell type; or the node.
    """

    turn: int
    kind: str
    cell: str
    place: int


def plan(
    space: SearchSpace, keep: int | None, order: str | Sequence[int], seed: int
) -> list[Decision]:
    """All decisions of a selection, in turn.

    First the operations: in each turn one edge of every cell type that has one left. Then, where
    nodes keep some of their edges alone, in each turn one node of every cell type.

    Args:
        space (SearchSpace): The whole space.
        keep (int, optional): How many edges a node keeps; None for all.
        order (str | Sequence[int]): ``'random'``; or the edges by their place in the cell type,
            and the nodes then from the first one on.
        seed (int): Of a random order, which depends on nothing else.

    Raises:
        UserError: The order does not have every edge of each cell type once.
    """
    generator = torch.Generator().manual_seed(seed)

    def shuffled(places: Sequence[int]) -> list[int]:
        if order != 'random':
            return list(places)
        return [places[i] for i in torch.randperm(len(places), generator=generator).tolist()]

    found = []
    for cell, topology in space.cells.items():
        edges = shuffled(range(len(topology.edges)))
        if order != 'random':
            if sorted(order) != edges:
                raise UserError(
                    f'the order of edges must have each of 0 to {len(edges) - 1} of the cell '
                    f"'{cell}' once, but is {list(order)}"
                )
            edges = list(order)
        found += [Decision(turn, OPERATION, cell, edge) for turn, edge in enumerate(edges)]
    if keep is not None:
        first = max(decision.turn for decision in found) + 1
        for cell, topology in space.cells.items():
            nodes = shuffled(nodes_to_decide(topology, keep))
            found += [Decision(turn, EDGES, cell, node) for turn, node in enumerate(nodes, first)]
    return sorted(found, key=lambda decision: decision.turn)  # cell types stay in order


def nodes_to_decide(topology: CellTopology, keep: int) -> list[int]:
    """The nodes of a cell type that more edges lead into than they keep."""
    nodes = range(topology.num_inputs, topology.num_nodes)
    return [node for node in nodes if len(topology.edges_into(node)) > keep]


def epoch_of(turn: int, turns: int, epochs: int) -> int:
    """Before which epoch a turn comes, from 0.

    The first turn comes before the first epoch, the last one before the last, the others evenly
    between. Of more turns than epochs, those of one epoch follow each other at once.

    Args:
        turn (int): From 0.
        turns (int): How many there are.
        epochs (int): Of the loop.
    """
    return min(epochs - 1, turn * epochs // max(1, turns - 1))


class Trials(NamedTuple):
    """What a decision tried and took.

    Args:
        kept (list): Names of operations, or places of edges.
        scores (dict): For each of those that were hidden in turn, how the network did without it;
            empty where there was no choice.
    """

    kept: list[Any]
    scores: dict[Any, float]


class Trier:
    """Tries and decides: what is hidden in turn, and what is kept.

    Args:
        owner (AlphaOwner): Of the network, whose masks a decision changes.
        score (Callable): How the network does as it is now: an accuracy, or a loss.
        sign (int): 1 where a larger score is better, -1 where a smaller one is.
        keep (int, optional): How many edges a node keeps. Without it every edge is kept, and its
            operation may be ``none``; with it ``none`` is no choice, as no genotype has it.
    """

    def __init__(
        self, owner: AlphaOwner, score: Callable[[], float], sign: int, keep: int | None
    ) -> None:
        self.owner, self.score, self.sign, self.keep = owner, score, sign, keep

    def __call__(self, decision: Decision) -> Trials:
        """Take a decision: the masks of the owner are changed once all trials are done.

        Of an operation, the candidate is kept whose hiding hurts most, of a tie the first; of
        edges, those are dropped whose hiding hurts least, of a tie the last.
        """
        cell, place = decision.cell, decision.place
        choices, scores = self._choices(decision), {}
        for one in self.hidden(decision):
            edge = place if decision.kind == OPERATION else one
            names = [one] if decision.kind == OPERATION else self._alive(cell, edge)
            with self.owner.hide(cell, edge, names):
                scores[one] = self.score()
        ranked = sorted(choices, key=lambda one: self.sign * scores.get(one, 0.0))
        if decision.kind == OPERATION:
            kept = ranked[:1]
            dead = [name for name in self._alive(cell, place) if name not in kept]
            self.owner.prune(cell, place, dead)
        else:
            kept = sorted(ranked[: self.keep])
            for edge in ranked[self.keep :]:
                self.owner.drop_edge(cell, edge)
        return Trials(kept, scores)

    def hidden(self, decision: Decision) -> list[Any]:
        """What a decision hides in turn, as things are: nothing where there is no choice."""
        choices = self._choices(decision)
        keeps = 1 if decision.kind == OPERATION else self.keep
        return choices if len(choices) > keeps else []

    def _choices(self, decision: Decision) -> list[Any]:
        """The names of candidates, or the places of edges, that may be kept."""
        cell, place = decision.cell, decision.place
        if decision.kind == EDGES:
            into = self.owner.space.cells[cell].edges_into(place)
            return [edge for edge in into if self._alive(cell, edge)]
        alive = self._alive(cell, place)
        return [name for name in alive if self.keep is None or name != 'none'] or alive

    def _alive(self, cell: str, edge: int) -> list[str]:
        names = self.owner.space.cells[cell].edges[edge].candidates
        flags = self.owner.alive[cell][edge]
        return [name for name, flag in zip(names, flags, strict=True) if flag]
