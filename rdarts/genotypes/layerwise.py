"""One operation for each of the layers that run one after another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rdarts.errors import UserError
from rdarts.genotypes.form import Genotype, Graph, as_name, check_edge, check_space, find_space
from rdarts.registry import GENOTYPE_FORMS
from rdarts.utils.wording import plural

if TYPE_CHECKING:
    from rdarts.search_spaces import CellTopology, SearchSpace

CELL = 'layerwise'  # the one cell type
TEXT = re.compile(r'\w+(?: - \w+)+|\w+ -')


@GENOTYPE_FORMS.register_module(name='layerwise')
@dataclass(frozen=True)
class LayerwiseGenotype(Genotype):
    """One operation for each layer.

    Args:
        space (str): Name of its space.
        layers (tuple[str, ...]): The operations.
    """

    kind: ClassVar[str] = 'layerwise'
    space: str
    layers: tuple[str, ...]

    @classmethod
    def fits(cls, cells: Mapping[str, CellTopology]) -> bool:
        """One cell type, ``'layerwise'``, in which every node reads the one before."""
        if set(cells) != {CELL}:
            return False
        pairs = [(edge.source, edge.target) for edge in cells[CELL].edges]
        return pairs == [(i, i + 1) for i in range(len(pairs))]

    @classmethod
    def takes(cls, text: str) -> bool:
        """See :class:`Genotype`."""
        return TEXT.fullmatch(text) is not None

    @classmethod
    def of_edges(cls, space: SearchSpace, operations: Mapping[str, list[str]]) -> LayerwiseGenotype:
        """See :class:`Genotype`."""
        return cls(space.name, tuple(operations[CELL]))

    def validate(self, space: str | Mapping | SearchSpace) -> LayerwiseGenotype:
        """See :class:`Genotype`."""
        space = find_space(space)
        check_space(self, space)
        edges = space.cells[CELL].edges if CELL in space.cells else ()
        if len(self.layers) != len(edges):
            raise UserError(
                f'genotype: it has {plural(len(self.layers), "layer")}, but space '
                f"'{space.name}' has "
                f'{len(edges)}'
            )
        for operation, edge in zip(self.layers, edges, strict=True):
            check_edge(CELL, space.cells[CELL], edge.source, edge.target, operation)
        return self

    def operations_by_cell(self) -> dict[str, list[str]]:
        """See :class:`Genotype`."""
        return {CELL: list(self.layers)}

    def to_string(self) -> str:
        """``op - op - ...``; of one layer ``op -``, which is no name of a file."""
        return ' - '.join(self.layers) if len(self.layers) != 1 else f'{self.layers[0]} -'

    @classmethod
    def from_string(cls, text: str, space: str) -> LayerwiseGenotype:
        """See :class:`Genotype`."""
        return cls(space, tuple(text.removesuffix(' -').split(' - ')))

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return dict(space=self.space, kind=self.kind, layers=list(self.layers))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LayerwiseGenotype:
        """Inverse of :meth:`to_dict`."""
        return cls(data['space'], tuple(as_name(op) for op in data['layers']))

    def graphs(self, space: SearchSpace | None = None) -> list[Graph]:
        """See :class:`Genotype`."""
        count = len(self.layers)
        edges = tuple((i, i + 1, operation) for i, operation in enumerate(self.layers))
        return [Graph(CELL, 1, count + 1, edges, (count,), in_rows=True)]
