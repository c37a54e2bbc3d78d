"""What every form of a genotype is, and what is the same in all of them."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

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

    A form says how it is checked, written, read, built of chosen operations, drawn, encoded, drawn
    at random and mutated. It names no space: the space says which form it has. One that keeps other
    things than one operation of each edge overrides :meth:`choices`, :meth:`of_choices`,
    :meth:`chosen`, :meth:`changes` and :meth:`changed`.

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

    def vector(self, space: str | Mapping | SearchSpace) -> np.ndarray:
        """The rows of :meth:`encode` one after the other, cell by cell.

        Args:
            space (str | Mapping | SearchSpace): Its space.

        Returns:
            np.ndarray: [candidates of all edges], float64: 30 numbers in NAS-Bench-201. Two equal
            operations on one edge count once.

        Raises:
            UserError: It does not fit the space.
        """
        cells = self.encode(space).values()
        return np.array([bit for rows in cells for row in rows for bit in row], dtype=np.float64)

    @classmethod
    def choices(cls, space: SearchSpace) -> list[int]:
        """The independent choices that make a genotype: how many ways each of them has.

        Args:
            space (SearchSpace): The space.

        Returns:
            list[int]: Here the number of candidates of each edge that was not dropped.
        """
        return [
            len(edge.candidates)
            for topology in space.cells.values()
            for edge in topology.edges
            if edge.candidates
        ]

    @classmethod
    def of_choices(cls, space: SearchSpace, chosen: Sequence[int]) -> Self:
        """The genotype of one way for each of the :meth:`choices`.

        Args:
            space (SearchSpace): The space.
            chosen (Sequence[int]): The number of the way, from 0.
        """
        left = iter(chosen)
        return cls.of_edges(
            space,
            {
                cell: [
                    edge.candidates[next(left)] if edge.candidates else None
                    for edge in topology.edges
                ]
                for cell, topology in space.cells.items()
            },
        )

    def chosen(self, space: SearchSpace) -> list[int | None]:
        """Inverse of :meth:`of_choices`; None where a choice makes no difference.

        Args:
            space (SearchSpace): Its space.

        Raises:
            UserError: It does not fit the space, or is none that :meth:`of_choices` gives.
        """
        kept = self.validate(space)._operations_of_edges(space)
        return [
            edge.candidates.index(kept[cell][i])
            for cell, topology in space.cells.items()
            for i, edge in enumerate(topology.edges)
            if edge.candidates
        ]

    @classmethod
    def random(cls, space: SearchSpace, generator: np.random.Generator) -> Self:
        """The genotype of :meth:`choices` that are uniform, each over its ways.

        Args:
            space (SearchSpace): The space.
            generator (np.random.Generator): What is drawn from.
        """
        return cls.of_choices(space, generator.integers(cls.choices(space)).tolist())

    def mutated(self, space: SearchSpace, generator: np.random.Generator) -> Self:
        """A genotype that differs in one choice: never itself.

        Of the kinds of changes that are possible one is drawn uniformly, then a place, then what is
        put there. Where each edge has an operation, the places are the edges. The code of
        NATS-Bench draws a node first, so that it changes edges into early nodes more often.

        Args:
            space (SearchSpace): Its space.
            generator (np.random.Generator): What is drawn from.

        Raises:
            UserError: It does not fit the space, or is the only genotype of it.
        """
        kinds = [places for places in self.validate(space).changes(space) if places]
        if not kinds:
            raise UserError(
                f"'{space.name}' has a single genotype, which cannot be mutated: a space needs an "
                'edge of two candidates or more'
            )
        places = kinds[generator.integers(len(kinds))]
        others = places[generator.integers(len(places))]
        return self.changed(space, others[generator.integers(len(others))])

    def neighbours(self, space: SearchSpace) -> list[Self]:
        """All genotypes that differ in one choice, each once: what :meth:`mutated` may give.

        They are in the order of :meth:`changes`: of cell types, edges and candidates of the space
        where each edge has an operation. In NAS-Bench-201 there are 24.

        Args:
            space (SearchSpace): Its space.

        Raises:
            UserError: It does not fit the space.
        """
        return [
            self.changed(space, change)
            for places in self.validate(space).changes(space)
            for others in places
            for change in others
        ]

    def changes(self, space: SearchSpace) -> list[list[list[Any]]]:
        """What can be changed: for each kind of changes its places, for each place the changes.

        Args:
            space (SearchSpace): Its space.

        Returns:
            list[list[list]]: Of what :meth:`changed` takes. There is no place without changes.
        """
        kept = self._operations_of_edges(space)
        places = (
            [(cell, i, other) for other in edge.candidates if other != kept[cell][i]]
            for cell, topology in space.cells.items()
            for i, edge in enumerate(topology.edges)
        )
        return [[others for others in places if others]]

    def changed(self, space: SearchSpace, change: Any) -> Self:
        """The genotype after one of its :meth:`changes`."""
        cell, edge, operation = change
        kept = self._operations_of_edges(space)
        kept[cell][edge] = operation
        return self.of_edges(space, kept)

    def _operations_of_edges(self, space: SearchSpace) -> dict[str, list[str]]:
        # a form may name its one cell type otherwise than the space does
        return dict(zip(space.cells, self.operations_by_cell().values(), strict=True))


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
