"""What every form of a genotype is, and what is the same in all of them."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rdarts.errors import UserError, nearest
from rdarts.registry import GENOTYPE_FORMS, SEARCH_SPACES, build

if TYPE_CHECKING:
    from typing import Self

    from rdarts.search_spaces import CellTopology, SearchSpace

QUOTES = '\'"`,'


@dataclass(frozen=True)
class Graph:
    """What is drawn of one cell type.

    Args:
        name (str): The cell type.
        num_inputs (int): Nodes ``0 .. num_inputs - 1`` are inputs.
        num_nodes (int): All nodes, inputs included.
        edges (tuple[tuple[int, int, str], ...]): Source, target and operation of every kept edge.
        output (tuple[int, ...]): The nodes that form the output.
        in_rows (bool): Whether it is layers one after another, which are drawn in rows. Defaults to
            False.
    """

    name: str
    num_inputs: int
    num_nodes: int
    edges: tuple[tuple[int, int, str], ...]
    output: tuple[int, ...]
    in_rows: bool = False


class Genotype(ABC):
    """What a search found, as plain data; each form is a subclass in ``GENOTYPE_FORMS``.

    A form says how it is checked, written, read, built of chosen operations, drawn and encoded. It
    names no space: the space says which form it has.

    Attributes:
        kind (str): The key of its form.
        space (str): Name of its space.
        start (re.Pattern | None): Finds where a text of this form begins in a line of a log or of
            code; None for a form that must be the whole text.
    """

    kind: ClassVar[str]
    start: ClassVar[re.Pattern[str] | None] = None
    space: str

    @classmethod
    @abstractmethod
    def fits(cls, cells: Mapping[str, CellTopology]) -> bool:
        """Whether a space of these cells can have this form."""

    @classmethod
    @abstractmethod
    def takes(cls, text: str) -> bool:
        """Whether a text is meant to be of this form, right or wrong in the rest."""

    @classmethod
    @abstractmethod
    def from_string(cls, text: str, space: str) -> Self:
        """Parse what :meth:`to_string` writes; nothing of it is evaluated.

        Raises:
            UserError: The text is not of that form.
        """

    @classmethod
    @abstractmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`."""

    @classmethod
    @abstractmethod
    def of_edges(cls, space: SearchSpace, operations: Mapping[str, list[str | None]]) -> Self:
        """The genotype that keeps every edge but those that were dropped.

        Args:
            space (SearchSpace): Its space.
            operations (Mapping[str, list[str | None]]): For each cell type the operation of each
                edge; None of a dropped one.
        """

    @abstractmethod
    def validate(self, space: str | Mapping | SearchSpace) -> Self:
        """Check against its space.

        Returns:
            Genotype: Itself.

        Raises:
            UserError: It is of another space, or has an operation or edge that is not in it.
        """

    @abstractmethod
    def operations_by_cell(self) -> dict[str, list[str]]:
        """Every operation of each cell type."""

    @abstractmethod
    def to_string(self) -> str:
        """As one line of text."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """JSON data."""

    @abstractmethod
    def graphs(self, space: SearchSpace | None = None) -> list[Graph]:
        """What is drawn, one a cell type.

        Args:
            space (SearchSpace, optional): Its space, which says how many inputs a cell has.
                Defaults to what the genotype itself tells.
        """

    def operations(self) -> list[str]:
        """Every operation, cell by cell."""
        return [name for names in self.operations_by_cell().values() for name in names]

    def encode(self, space: str | Mapping | SearchSpace) -> dict[str, list[list[int]]]:
        """By cell type one row for each edge of the space: 1 where the candidate is kept, else 0.

        Args:
            space (str | Mapping | SearchSpace): Its space.

        Raises:
            UserError: It does not fit the space.
        """
        space = find_space(space)
        graphs = {graph.name: set(graph.edges) for graph in self.validate(space).graphs(space)}
        return {
            cell: [
                [int((edge.source, edge.target, name) in graphs[cell]) for name in edge.candidates]
                for edge in topology.edges
            ]
            for cell, topology in space.cells.items()
        }


# what a config may say of one; None: it comes by --genotype
GenotypeSpec = str | os.PathLike | Mapping[str, Any] | Genotype | None


def form_named(kind: str) -> type[Genotype]:
    """The form of a key; see :class:`Genotype`.

    Raises:
        UserError: There is none.
    """
    if kind not in GENOTYPE_FORMS.module_dict:
        raise UserError(
            f"unknown form of genotypes '{kind}': {nearest(kind, GENOTYPE_FORMS.module_dict)}"
        )
    return GENOTYPE_FORMS.module_dict[kind]


def find_space(space: str | Mapping | SearchSpace) -> SearchSpace:
    """The space of a name, of a config's table, or itself.

    Raises:
        UserError: The name is not known, or the table is no space's.
    """
    built = build(space, SEARCH_SPACES)
    if not hasattr(built, 'cells'):
        raise UserError(f'a search space must be a SearchSpace, but got {built!r}')
    return built


def check_space(genotype: Genotype, space: SearchSpace) -> None:
    """A genotype names its space and has the form of it.

    Raises:
        UserError: It does not.
    """
    if genotype.space != space.name:
        raise UserError(
            f"the genotype is of the space '{genotype.space}', but '{space.name}' is needed: "
            'search in that space, or name the other one in the config'
        )
    if genotype.kind != space.genotype:
        raise UserError(
            f"genotype: it is of kind '{genotype.kind}', but those of the space '{space.name}' "
            f"are of kind '{space.genotype}'"
        )


def check_edge(cell: str, topology: CellTopology, source: int, target: int, operation: str) -> None:
    """A cell has this edge, with this candidate.

    Raises:
        UserError: It has not.
    """
    where = f"genotype, cell '{cell}'"
    edge = next((e for e in topology.edges if (e.source, e.target) == (source, target)), None)
    if edge is None:
        sources = sorted(e.source for e in topology.edges if e.target == target)
        raise UserError(
            f'{where}: node {target} cannot read node {source}; it reads {sources} in this space'
        )
    if operation not in edge.candidates:
        hint = nearest(operation, edge.candidates)
        raise UserError(
            f"{where}: operation '{operation}' is no candidate of edge {source} -> {target}: {hint}"
        )


def as_name(value: Any) -> str:
    """What a file holds where a name must be.

    Raises:
        UserError: It is something else.
    """
    if not isinstance(value, str):
        raise UserError(f'genotype: an operation must be a name, but is {value!r}')
    return value


def as_index(value: Any) -> int:
    """What a file holds where a node must be.

    Raises:
        UserError: It is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(f'genotype: a node must be an integer, but is {value!r}')
    return value
