"""What a search space is: nodes, edges and the candidates of each edge, as data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any

from rdarts.configuration.declarations import Component
from rdarts.errors import UserError

PARAMETER_FREE = frozenset({'none', 'skip_connect', 'max_pool_3x3', 'avg_pool_3x3', 'noise'})
"""Operations without weights of their own, the paper's parameter-free kind. A skip connection
counts as one although its stride-2 form, the factorised reduction, has weights."""


@dataclass(frozen=True)
class Edge:
    """One edge of a cell.

    Args:
        source (int): Index of the node that the edge reads.
        target (int): Index of the node that it adds to.
        candidates (tuple[str, ...]): Names of its candidate operations, in alpha's order.
    """

    source: int
    target: int
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class CellTopology:
    """Nodes and edges of one cell type.

    Args:
        num_inputs (int): Nodes ``0 .. num_inputs - 1`` are the cell's inputs.
        num_nodes (int): All nodes, inputs included.
        edges (tuple[Edge, ...]): Sorted by target, then source.
        output (str): ``'concat'`` of all nodes that are no inputs, or the ``'last'`` node.
    """

    num_inputs: int
    num_nodes: int
    edges: tuple[Edge, ...]
    output: str

    def edges_into(self, node: int) -> list[int]:
        """Indices of the edges that end in a node."""
        return [i for i, edge in enumerate(self.edges) if edge.target == node]

    def edges_from(self, node: int) -> list[int]:
        """Indices of the edges that leave a node."""
        return [i for i, edge in enumerate(self.edges) if edge.source == node]


@dataclass(frozen=True)
class EdgeGroup:
    """Edges that share one ordered list of candidates, and so one alpha of [edges, candidates].

    Args:
        name (str): Key of the group in ``arch_parameters``.
        cell (str): The cell type that the edges belong to.
        edges (tuple[int, ...]): Their indices in the cell's list of edges.
        candidates (tuple[str, ...]): Names of the columns of alpha.
        kind (str): ``'op'`` for weights over operations, ``'edge'`` for weights over edges,
            ``'pair'`` for weights over pairs of edges, which ``edges`` numbers. Defaults to
            ``'op'``.
    """

    name: str
    cell: str
    edges: tuple[int, ...]
    candidates: tuple[str, ...]
    kind: str = 'op'


@dataclass(frozen=True)
class Stage:
    """Layers of one width.

    Args:
        width (int): Channels of every layer's output.
        depth (int): Number of layers.
        stride (int): Of the first one.
    """

    width: int
    depth: int
    stride: int


@dataclass(frozen=True)
class SearchSpace:
    """A table that says what is searched.

    Args:
        name (str): Name that genotypes and checkpoints carry.
        cells (dict[str, CellTopology]): Topology of each cell type.
        genotype (str): Form of what is found, a name in ``GENOTYPE_FORMS``.
        discretizer (str): Default rule from alpha to genotype, a name in ``DISCRETIZERS``.
        operation_args (dict[str, dict]): Further arguments of an operation's builder in this
            space. Defaults to none.
        parameter_free (frozenset[str]): Candidates that count as parameter-free.
        repeated_edges (bool): Whether a genotype's node may read one node twice. Defaults to
            False.
        stages (tuple[Stage, ...]): Of layers that differ in width. Defaults to none.
        costs (dict[str, tuple[tuple[float, ...], ...]], optional): Cell type -> for each edge the
            cost of each candidate, for :class:`ExpectedCost`. Defaults to none.
        supernet (str, optional): The network that is searched, a name in ``MODELS``. Defaults to
            none.
        network (str, optional): The network that a genotype derives, a name in ``MODELS``. Defaults
            to none.
        stems (tuple[str, ...]): What its networks take as ``stem``, their default first. Defaults
            to none.
        config_name (str): Its name in those of configs: ``configs/search/<method>_<config_name>_
            <data>.py``. Defaults to none.
        table (str, optional): The benchmark that holds what each genotype reaches, a name in
            ``BENCHMARKS``. Defaults to none.
        retraining (dict[str, str]): Type of the training images -> the config that trains a
            genotype on them: a name in ``configs/retrain``, or the path of a file. Defaults to
            none.
        detection (tuple[str, ...]): Configs of detectors with its network, names in
            ``configs/detection``. Defaults to none.
    """

    name: str
    cells: Mapping[str, CellTopology]
    genotype: str = 'cell'
    discretizer: str = 'TopEdges'
    operation_args: Mapping[str, Mapping] = field(default_factory=dict)
    parameter_free: frozenset[str] = PARAMETER_FREE
    repeated_edges: bool = False
    stages: tuple[Stage, ...] = ()
    costs: Mapping[str, tuple[tuple[float, ...], ...]] | None = None
    supernet: str | None = None
    network: str | None = None
    stems: tuple[str, ...] = ()
    config_name: str = ''
    table: str | None = None
    retraining: Mapping[str, str] = field(default_factory=dict)
    detection: tuple[str, ...] = ()

    @cached_property
    def groups(self) -> tuple[EdgeGroup, ...]:
        """The groups of alpha, all over operations: named as the cell where all its edges have the
        same candidates, else ``<cell>_0``, ``<cell>_1``, ... in order of first appearance."""
        groups = []
        for cell, topology in self.cells.items():
            lists: dict[tuple[str, ...], list[int]] = {}
            for index, edge in enumerate(topology.edges):
                if edge.candidates:  # one without any was dropped
                    lists.setdefault(edge.candidates, []).append(index)
            for k, (candidates, edges) in enumerate(lists.items()):
                name = cell if len(lists) == 1 else f'{cell}_{k}'
                groups.append(EdgeGroup(name, cell, tuple(edges), candidates))
        return tuple(groups)

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Every operation of the space, in order of first appearance."""
        names = {}
        for topology in self.cells.values():
            for edge in topology.edges:
                names.update(dict.fromkeys(edge.candidates))
        return tuple(names)

    @property
    def num_edges(self) -> int:
        """Edges of all cell types together, the N of BER."""
        return sum(len(topology.edges) for topology in self.cells.values())

    @property
    def largest_entropy(self) -> float:
        """The mean entropy of an edge where the weights of its candidates are equal, in nats."""
        groups = [(len(group.edges), math.log(len(group.candidates))) for group in self.groups]
        return sum(edges * most for edges, most in groups) / sum(edges for edges, _ in groups)

    def by_kind(self, candidates: Sequence[str]) -> list[list[int]]:
        """The places of the parameter-free candidates in a list, and those of the others.

        Args:
            candidates (Sequence[str]): Their names.

        Returns:
            list[list[int]]: A kind of which there is none is left out.
        """
        free = [name in self.parameter_free for name in candidates]
        kinds = ([place for place, one in enumerate(free) if one is kind] for kind in (True, False))
        return [places for places in kinds if places]

    def restrict(self, alive: Mapping[str, Sequence[Sequence[bool]]]) -> SearchSpace:
        """The same space with those candidates alone that are alive.

        An edge that has none of them is a dropped one: it keeps its place, without candidates, and
        is in no group.

        Args:
            alive (dict[str, Sequence[Sequence[bool]]]): Cell type -> for each edge, whether each
                of its candidates is.

        Raises:
            UserError: A node would read nothing, as all edges that lead into it are dropped.
        """
        cells, costs = {}, {}
        for cell, topology in self.cells.items():
            edges = []
            for edge, flags in zip(topology.edges, alive[cell], strict=True):
                names = tuple(itertools.compress(edge.candidates, flags))
                edges.append(replace(edge, candidates=names))
            cells[cell] = replace(topology, edges=tuple(edges))
            for node in range(topology.num_inputs, topology.num_nodes):
                if not any(edges[i].candidates for i in topology.edges_into(node)):
                    raise UserError(
                        f"'{self.name}': cell '{cell}', node {node} needs an edge that is alive"
                    )
            if self.costs is not None:
                pairs = zip(self.costs[cell], alive[cell], strict=True)
                costs[cell] = tuple(tuple(itertools.compress(row, keep)) for row, keep in pairs)
        return replace(self, cells=cells, costs=self.costs and costs)

    def slots(self, cell: str) -> list[tuple[str, int] | None]:
        """For each edge of a cell, the group and the row of its alpha; None of a dropped edge."""
        place = {}
        for group in self.groups:
            if group.cell == cell:
                place.update({edge: (group.name, row) for row, edge in enumerate(group.edges)})
        return [place.get(edge) for edge in range(len(self.cells[cell].edges))]


def has_normal_and_reduce(cells: Collection[str]) -> bool:
    """Whether the cell types are those of the DARTS space."""
    return set(cells) == {'normal', 'reduce'}


def dense_cell(
    num_inputs: int,
    num_nodes: int,
    candidates: Sequence[str] | Sequence[Sequence[str]],
    output: str,
) -> CellTopology:
    """A cell in which every node reads all earlier nodes.

    Args:
        num_inputs (int): Number of input nodes.
        num_nodes (int): Number of nodes, inputs included.
        candidates (Sequence): One list of names for all edges, or one list an edge.
        output (str): ``'concat'`` or ``'last'``.
    """
    pairs = [(i, j) for j in range(num_inputs, num_nodes) for i in range(j)]
    per_edge = [candidates] * len(pairs) if isinstance(candidates[0], str) else candidates
    if len(per_edge) != len(pairs):
        raise UserError(f'{len(pairs)} edges need {len(pairs)} candidate lists: {len(per_edge)}')
    edges = tuple(Edge(i, j, tuple(names)) for (i, j), names in zip(pairs, per_edge, strict=True))
    return CellTopology(num_inputs, num_nodes, edges, output)


# what a config may say of a space
SpaceSpec = Annotated[str | Mapping[str, Any] | SearchSpace, Component('SEARCH_SPACES')]
