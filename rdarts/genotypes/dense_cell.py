"""One operation for each edge of a dense cell, as NAS-Bench-201 writes it (arXiv:2001.00326)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rdarts.errors import UserError
from rdarts.genotypes.form import (
    QUOTES,
    Genotype,
    Graph,
    as_name,
    check_edge,
    check_space,
    find_space,
)
from rdarts.registry import GENOTYPE_FORMS
from rdarts.utils.wording import plural

if TYPE_CHECKING:
    from rdarts.search_spaces import CellTopology, SearchSpace


@GENOTYPE_FORMS.register_module(name='dense_cell')
@dataclass(frozen=True)
class DenseCellGenotype(Genotype):
    """One operation for each edge of a cell in which every node reads all earlier ones.

    Args:
        space (str): Name of its space.
        ops (tuple[str, ...]): Operations in the order 0->1, 0->2, 1->2, 0->3, 1->3, 2->3.
    """

    kind: ClassVar[str] = 'dense_cell'
    # the first node
    start: ClassVar[re.Pattern[str]] = re.compile(r'\|\s*\w+\s*~\s*0\s*\|(?=\s*\+)')
    space: str
    ops: tuple[str, ...]

    @classmethod
    def fits(cls, cells: Mapping[str, CellTopology]) -> bool:
        """One cell type of one input, with all edges."""
        if len(cells) != 1:
            return False
        (topology,) = cells.values()
        count = topology.num_nodes
        return topology.num_inputs == 1 and len(topology.edges) == count * (count - 1) // 2

    @classmethod
    def takes(cls, text: str) -> bool:
        """See :class:`Genotype`."""
        return text.startswith('|')

    @classmethod
    def of_edges(
        cls, space: SearchSpace, operations: Mapping[str, list[str | None]]
    ) -> DenseCellGenotype:
        """See :class:`Genotype`."""
        ((_, names),) = operations.items()
        return cls(space.name, tuple(name or 'none' for name in names))

    def validate(self, space: str | Mapping | SearchSpace) -> DenseCellGenotype:
        """See :class:`Genotype`."""
        space = find_space(space)
        check_space(self, space)
        ((cell, topology),) = space.cells.items()
        if len(self.ops) != len(topology.edges):
            raise UserError(
                f'genotype: it has {plural(len(self.ops), "edge")}, but the cell of '
                f"'{space.name}' has {len(topology.edges)}"
            )
        for operation, edge in zip(self.ops, topology.edges, strict=True):
            check_edge(cell, topology, edge.source, edge.target, operation)
        return self

    def operations_by_cell(self) -> dict[str, list[str]]:
        """See :class:`Genotype`; the cell type is called ``'cell'``."""
        return dict(cell=list(self.ops))

    def to_string(self) -> str:
        """The official text, ``|nor_conv_3x3~0|+|...~0|...~1|+|...~0|...~1|...~2|``."""
        nodes, start, inputs = [], 0, 1
        while start < len(self.ops):
            ops = self.ops[start : start + inputs]
            nodes.append('|' + '|'.join(f'{op}~{i}' for i, op in enumerate(ops)) + '|')
            start, inputs = start + inputs, inputs + 1
        return '+'.join(nodes)

    @classmethod
    def from_string(cls, text: str, space: str) -> DenseCellGenotype:
        """Parse the official text.

        Raises:
            UserError: The text is not of that form.
        """
        ops = []
        text = re.sub(r'\s+', '', as_name(text)).strip(QUOTES)
        for node, part in enumerate(text.split('+')):
            edges = part.split('|')
            if len(edges) != node + 3 or edges[0] or edges[-1]:
                raise UserError(
                    f'genotype {text!r}: node {node + 1} must read |op~0|...|op~{node}|, '
                    f'but reads {part!r}'
                )
            for source, edge in enumerate(edges[1:-1]):
                operation, mark, index = edge.partition('~')
                if not operation or not mark or index != str(source):
                    raise UserError(
                        f'genotype {text!r}: node {node + 1} needs op~{source} where it has '
                        f'{edge!r}'
                    )
                ops.append(operation)
        return cls(space, tuple(ops))

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return dict(space=self.space, kind=self.kind, cell=self.to_string())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DenseCellGenotype:
        """Inverse of :meth:`to_dict`."""
        return cls.from_string(data['cell'], data['space'])

    def graphs(self, space: SearchSpace | None = None) -> list[Graph]:
        """See :class:`Genotype`."""
        name = 'cell' if space is None else next(iter(space.cells))
        edges, node, source = [], 1, 0
        for operation in self.ops:
            edges.append((source, node, operation))
            source += 1
            if source == node:
                node, source = node + 1, 0
        return [Graph(name, 1, node, tuple(edges), (node - 1,))]
