"""The kept edges of every cell type, as DARTS writes them (https://arxiv.org/abs/1806.09055)."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from rdarts.errors import UserError
from rdarts.genotypes.cell_text import by_target, written
from rdarts.genotypes.form import (
    Genotype,
    Graph,
    as_index,
    as_name,
    check_edge,
    check_space,
    find_space,
)
from rdarts.registry import GENOTYPE_FORMS
from rdarts.utils.wording import plural

if TYPE_CHECKING:
    from rdarts.search_spaces import CellTopology, SearchSpace

INPUTS = 2  # that a node reads where choices are made, as in DARTS


@GENOTYPE_FORMS.register_module(name='cell')
@dataclass(frozen=True)
class CellGenotype(Genotype):
    """The kept edges of every cell type.

    Args:
        space (str): Name of its space.
        nodes (dict[str, tuple]): For each cell type, one tuple of ``(operation, source)`` pairs
            for each node that is no input: two in DARTS, any number by other rules. One without
            is zero. Two operations may lead from one node to another.
        concat (dict[str, tuple[int, ...]]): For each cell type, the nodes that form the output.
    """

    kind: ClassVar[str] = 'cell'
    start: ClassVar[re.Pattern[str]] = re.compile(r'(?<![\w\'"])Genotype\s*\(')
    space: str
    nodes: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]]
    concat: Mapping[str, tuple[int, ...]]

    @classmethod
    def fits(cls, cells: Mapping[str, CellTopology]) -> bool:
        """Any cells do."""
        return bool(cells)

    @classmethod
    def takes(cls, text: str) -> bool:
        """See :class:`Genotype`."""
        return text.startswith('Genotype')

    @classmethod
    def of_edges(
        cls, space: SearchSpace, operations: Mapping[str, list[str | None]]
    ) -> CellGenotype:
        """See :class:`Genotype`."""
        nodes, concat = {}, {}
        for cell, topology in space.cells.items():
            inner = range(topology.num_inputs, topology.num_nodes)
            names = operations[cell]
            nodes[cell] = tuple(
                tuple(
                    (names[i], topology.edges[i].source)
                    for i in topology.edges_into(node)
                    if names[i] is not None
                )
                for node in inner
            )
            concat[cell] = tuple(inner) if topology.output == 'concat' else (inner[-1],)
        return cls(space.name, nodes, concat)

    @classmethod
    def choices(cls, space: SearchSpace) -> list[int]:
        """See :class:`Genotype`: what each node reads, and by which operations.

        For each node, the pairs of nodes that it may read (different ones, unless the space has
        ``repeated_edges``), then the candidates but ``none`` of each edge that leads into it; where
        a pair may have one node twice, once more for the second.
        """
        sizes = []
        for topology in space.cells.values():
            for node in range(topology.num_inputs, topology.num_nodes):
                names = _choices(topology, node)
                sizes.append(len(_pairs(names, space.repeated_edges)))
                sizes += [len(names[source]) for source, _ in _uses(names, space.repeated_edges)]
        return sizes

    @classmethod
    def of_choices(cls, space: SearchSpace, chosen: Sequence[int]) -> CellGenotype:
        """See :class:`Genotype`.

        All nodes that are no inputs form the output, or the last one, as the space says.
        """
        nodes, concat, left = {}, {}, iter(chosen)
        for cell, topology in space.cells.items():
            inner = range(topology.num_inputs, topology.num_nodes)
            concat[cell] = tuple(inner) if topology.output == 'concat' else (inner[-1],)
            nodes[cell] = ()
            for node in inner:
                names = _choices(topology, node)
                read = _pairs(names, space.repeated_edges)[next(left)]
                by = {
                    (source, use): names[source][next(left)]
                    for source, use in _uses(names, space.repeated_edges)
                }
                edges = ((by[s, read[:slot].count(s)], s) for slot, s in enumerate(read))
                nodes[cell] += (tuple(edges),)
        return cls(space.name, nodes, concat)

    def chosen(self, space: SearchSpace) -> list[int | None]:
        """See :class:`Genotype`; the operation of an edge that is not kept makes no difference."""
        found: list[int | None] = []
        self.validate(space)
        for cell, topology in space.cells.items():
            for node, edges in enumerate(self.nodes[cell], topology.num_inputs):
                names = _choices(topology, node)
                pairs = _pairs(names, space.repeated_edges)
                read = tuple(source for _, source in edges)
                if read not in pairs or any(name not in names[s] for name, s in edges):
                    raise UserError(
                        f"genotype, cell '{cell}': node {node} must read two nodes in their order, "
                        f"by operations other than 'none', but reads {[list(e) for e in edges]}"
                    )
                found.append(pairs.index(read))
                for source, use in _uses(names, space.repeated_edges):
                    by = [name for name, s in edges if s == source]
                    found.append(names[source].index(by[use]) if use < len(by) else None)
        return found

    def changes(self, space: SearchSpace) -> list[list[list[tuple[str, int, int, str, int]]]]:
        """See :class:`Genotype`: AmoebaNet's two kinds of mutations, of operations and of sources.

        An edge gets another operation than its own and ``none``; or it gets another source, which
        its node does not read yet unless the space has ``repeated_edges``, and keeps its operation
        where that is a candidate there (else each candidate there is a change). All changes of
        operations come first, in the order of cell types, nodes and their edges. AmoebaNet
        (https://arxiv.org/abs/1802.01548) also leaves 5 % of the genotypes as they are. How many
        inputs each node has, and which nodes form the output, stays.
        """
        operations, sources = [], []
        for cell, topology in space.cells.items():
            for node, pairs in enumerate(self.nodes[cell], topology.num_inputs):
                choices = _choices(topology, node)
                read = [source for _, source in pairs]
                for slot, (name, source) in enumerate(pairs):
                    if (name, source) in pairs[:slot]:  # the changes would be the same
                        continue
                    operations.append(
                        [
                            (cell, node, slot, other, source)
                            for other in choices.get(source, ())
                            if other != name
                            and (space.repeated_edges or (other, source) not in pairs)
                        ]
                    )
                    sources.append(
                        [
                            (cell, node, slot, other, place)
                            for place, names in choices.items()
                            if place != source and (space.repeated_edges or place not in read)
                            for other in ((name,) if name in names else names)
                        ]
                    )
        return [[others for others in places if others] for places in (operations, sources)]

    def changed(self, space: SearchSpace, change: tuple[str, int, int, str, int]) -> CellGenotype:
        """See :class:`Genotype`; the edges of the changed node are in the order of sources."""
        cell, node, slot, name, source = change
        nodes = list(self.nodes[cell])
        index = node - space.cells[cell].num_inputs
        pairs = list(nodes[index])
        pairs[slot] = (name, source)
        nodes[index] = _in_order(pairs)
        return replace(self, nodes={**self.nodes, cell: tuple(nodes)})

    def validate(self, space: str | Mapping | SearchSpace) -> CellGenotype:
        """See :class:`Genotype`."""
        space = find_space(space)
        check_space(self, space)
        if set(self.nodes) != set(space.cells):
            raise UserError(
                f"genotype: it has the cells {sorted(self.nodes)}, but space '{space.name}' has "
                f'{sorted(space.cells)}'
            )
        for cell, topology in space.cells.items():
            nodes = self.nodes[cell]
            expected = topology.num_nodes - topology.num_inputs
            if len(nodes) != expected:
                raise UserError(
                    f"genotype, cell '{cell}': it has {plural(len(nodes), 'node')}, but "
                    f'needs {expected}'
                )
            for target, edges in enumerate(nodes, topology.num_inputs):
                if len(set(edges)) != len(edges) and not space.repeated_edges:
                    raise UserError(
                        f"genotype, cell '{cell}': node {target} reads one node twice by the same "
                        'operation'
                    )
                for operation, source in edges:
                    check_edge(cell, topology, source, target, operation)
            concat = self.concat[cell]
            if not concat or len(set(concat)) != len(concat):
                raise UserError(
                    f"genotype, cell '{cell}': the output must be nodes, each once, but is "
                    f'{list(concat)}'
                )
            for node in concat:
                if not topology.num_inputs <= node < topology.num_nodes:
                    raise UserError(
                        f"genotype, cell '{cell}': output node {node} is not one of "
                        f'{topology.num_inputs} to {topology.num_nodes - 1}'
                    )
        return self

    def operations_by_cell(self) -> dict[str, list[str]]:
        """See :class:`Genotype`."""
        return {
            cell: [name for edges in nodes for name, _ in edges]
            for cell, nodes in self.nodes.items()
        }

    def to_string(self) -> str:
        """The official text, ``Genotype(normal=[('sep_conv_3x3', 0), ...], ...)``.

        Where a node has another number of edges than two, each entry says its node, as FairDARTS
        writes it: ``('sep_conv_3x3', 2, 0)`` leads from node 0 to node 2.
        """
        parts = []
        for cell, nodes in self.nodes.items():
            pairs = [tuple(edge) for edges in nodes for edge in edges]
            if any(len(edges) != 2 for edges in nodes):
                first = max(self.concat[cell]) + 1 - len(nodes)  # the last node is always part
                pairs = [
                    (name, target, source)
                    for target, edges in enumerate(nodes, first)
                    for name, source in edges
                ]
            concat = list(self.concat[cell])
            if concat == list(range(concat[0], concat[-1] + 1)):
                concat = f'range({concat[0]}, {concat[-1] + 1})'
            parts.append(f'{cell}={pairs}, {cell}_concat={concat}')
        return f'Genotype({", ".join(parts)})'

    @classmethod
    def from_string(cls, text: str, space: str) -> CellGenotype:
        """Parse ``Genotype(normal=[...], normal_concat=range(2, 6), ...)``.

        Raises:
            UserError: The text is not of that form.
        """
        problem = UserError(
            f"genotype {text[:60]!r}: expected Genotype(normal=[('op', node), ...], "
            'normal_concat=[...], reduce=[...], reduce_concat=[...])'
        )
        try:
            call = ast.parse(text, mode='eval').body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise problem from None
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args):
            raise problem
        if call.func.id != 'Genotype':
            raise problem
        values: dict[str, Any] = {}
        try:
            for keyword in call.keywords:
                values[keyword.arg] = written(keyword.value)
        except UserError:
            raise
        except (ValueError, RecursionError, MemoryError):
            raise problem from None
        nodes, concat = {}, {}
        try:
            for cell in [name for name in values if name and not name.endswith('_concat')]:
                concat[cell] = tuple(as_index(i) for i in values[f'{cell}_concat'])
                if any(len(entry) == 3 for entry in values[cell]):
                    nodes[cell] = by_target(cell, values[cell], concat[cell], space)
                    continue
                pairs = [(as_name(op), as_index(source)) for op, source in values[cell]]
                if len(pairs) % 2:
                    raise UserError(
                        f"genotype, cell '{cell}': two edges a node, but it has "
                        f'{plural(len(pairs), "edge")}; where nodes have other numbers of edges, '
                        "each says its node: ('skip_connect', target, source)"
                    )
                nodes[cell] = tuple(zip(pairs[::2], pairs[1::2], strict=True))
        except UserError:
            raise
        except (KeyError, TypeError, ValueError):
            raise problem from None
        if not nodes:
            raise problem
        return cls(space, nodes, concat)

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        cells = {
            cell: dict(
                nodes=[[list(edge) for edge in edges] for edges in nodes],
                concat=list(self.concat[cell]),
            )
            for cell, nodes in self.nodes.items()
        }
        return dict(space=self.space, kind=self.kind, cells=cells)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CellGenotype:
        """Inverse of :meth:`to_dict`."""
        nodes, concat = {}, {}
        for cell, table in data['cells'].items():
            nodes[cell] = tuple(
                tuple((as_name(op), as_index(source)) for op, source in edges)
                for edges in table['nodes']
            )
            concat[cell] = tuple(as_index(node) for node in table['concat'])
        return cls(data['space'], nodes, concat)

    def graphs(self, space: SearchSpace | None = None) -> list[Graph]:
        """See :class:`Genotype`.

        Raises:
            UserError: Nodes and output of a cell do not fit.
        """
        return [self._graph(cell, space) for cell in self.nodes]

    def _graph(self, cell: str, space: SearchSpace | None) -> Graph:
        nodes, concat = self.nodes[cell], self.concat[cell]
        if space is not None and cell in space.cells:
            num_inputs = space.cells[cell].num_inputs
        else:
            # the last node is always part of the output
            num_inputs = max(concat, default=0) + 1 - len(nodes)
        last = num_inputs + len(nodes) - 1
        if not nodes or not concat or min(concat) < 0 or max(concat) > last or num_inputs < 1:
            raise UserError(f"genotype, cell '{cell}': nodes and output do not fit: {list(concat)}")
        edges = tuple(
            (source, target, operation)
            for target, pairs in enumerate(nodes, num_inputs)
            for operation, source in pairs
        )
        return Graph(cell, num_inputs, num_inputs + len(nodes), edges, tuple(concat))


def _choices(topology: CellTopology, node: int) -> dict[int, tuple[str, ...]]:
    """Source -> the operations other than ``none`` by which a node may read it."""
    edges = [topology.edges[i] for i in topology.edges_into(node)]
    names = {e.source: tuple(name for name in e.candidates if name != 'none') for e in edges}
    return {source: some for source, some in names.items() if some}


def _pairs(names: Mapping[int, Any], repeated: bool) -> list[tuple[int, ...]]:
    """What a node may read; a single node where there is one, nothing where there is none."""
    if repeated and names:
        return list(itertools.combinations_with_replacement(names, INPUTS))
    return list(itertools.combinations(names, min(INPUTS, len(names))))


def _uses(names: Mapping[int, Any], repeated: bool) -> list[tuple[int, int]]:
    """Each source with the number of the edge from it, from 0."""
    return list(itertools.product(names, range(INPUTS if repeated else 1)))


def _in_order(pairs: list[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """The edges of a node in one order, so that genotypes of equal networks are equal."""
    return tuple(sorted(pairs, key=lambda pair: (pair[1], pair[0])))
