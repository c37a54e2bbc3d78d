"""Cost tables: what every candidate of every edge costs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from reprlib import repr as brief
from typing import Any

from rdarts.errors import UserError
from rdarts.search_spaces.base import SearchSpace
from rdarts.utils.files import read_text
from rdarts.utils.wording import plural

MAX_BYTES = 2**26  # of a file
CONDITIONS = ('stem', 'first_channels', 'channels', 'num_cells', 'cells_per_stage', 'shape')

# what a config may say of the costs of a space
CostsSpec = str | os.PathLike | Mapping[str, Any] | None


class CostTable(dict):
    """Cell type -> for each edge the cost of each candidate, in the candidates' order.

    Where a network has several cells of a type, it is the sum over them.

    Args:
        rows (dict[str, tuple[tuple[float, ...], ...]]): These.
        conditions (dict[str, Any]): What they were measured for, where the table says so: the
            supernet's own sizes, such as ``stem`` and ``channels``, and the ``shape`` [C, H, W] of
            an image.
        where (str): What to call the table in an error.
        unit (str): What the costs are counted in. Defaults to none.
    """

    def __init__(
        self,
        rows: Mapping[str, tuple[tuple[float, ...], ...]],
        conditions: Mapping[str, Any],
        where: str,
        unit: str = '',
    ) -> None:
        super().__init__(rows)
        self.conditions, self.where, self.unit = dict(conditions), where, unit

    def check(self, **actual: Any) -> None:
        """A network may use the table only if it is what was measured.

        Args:
            **actual: Some of ``CONDITIONS``, of the network.

        Raises:
            UserError: The table says that it was measured for another.
        """
        for key, value in actual.items():
            if self.conditions.get(key, value) != value:
                raise UserError(
                    f'{self.where}: it was measured with {key} {brief(self.conditions[key])}, but '
                    f"the search has {value!r}: measure anew, or take the key '{key}' out of it"
                )


def with_costs(space: SearchSpace, source: CostsSpec) -> SearchSpace:
    """A space with the costs of a table, see :func:`read_costs`; itself where there is none."""
    return space if source is None else replace(space, costs=read_costs(source, space))


def read_costs(source: str | os.PathLike | Mapping[str, Any], space: SearchSpace) -> CostTable:
    """Read and check a cost table.

    Args:
        source (str | PathLike | dict): A JSON file that ``tools/benchmarks/cost_table.py`` wrote,
            or its data: ``space``, ``unit`` and ``costs``, which maps each cell type to one entry
            an edge, operation -> cost; and, where it matters, what a :class:`CostTable` was
            measured for.
        space (SearchSpace): The space that it must be of.

    Raises:
        UserError: It cannot be read, is of another space, or lacks an entry; or one is no number,
            infinite, NaN or negative.
    """
    where = 'cost table'
    if not isinstance(source, Mapping):
        where = str(source)
        try:
            text = read_text(source, MAX_BYTES, 'the cost table')
        except FileNotFoundError as error:
            raise UserError(f'cannot read the cost table {where}: {error.strerror}') from None
        try:
            source = json.loads(text)
        except (ValueError, RecursionError):
            raise UserError(f'{where}: no JSON; tools/benchmarks/cost_table.py writes it') from None
    if not isinstance(source, Mapping) or not isinstance(source.get('costs'), Mapping):
        raise UserError(f"{where}: a cost table is an object with 'space', 'unit' and 'costs'")
    if source.get('space') != space.name:
        raise UserError(
            f'{where}: it is of the space {brief(source.get("space"))}, but '
            f"'{space.name}' is needed"
        )
    found = {}
    for cell, topology in space.cells.items():
        edges = source['costs'].get(cell)
        if not isinstance(edges, (list, tuple)) or len(edges) != len(topology.edges):
            raise UserError(
                f"{where}: '{cell}' needs {plural(len(topology.edges), 'entry')}, one an edge"
            )
        rows = []
        for edge, entry in zip(topology.edges, edges, strict=True):
            name = f'{where}: {cell}, edge {edge.source} -> {edge.target}'
            if not isinstance(entry, Mapping):
                raise UserError(f'{name}: it must map operations to costs, but is {brief(entry)}')
            missing = [op for op in edge.candidates if op not in entry]
            if missing:
                raise UserError(f"{name}: no cost of '{missing[0]}'")
            for op in edge.candidates:
                if not _is_cost(entry[op]):
                    raise UserError(
                        f"{name}: the cost of '{op}' must be 0 or more, but is {brief(entry[op])}"
                    )
            rows.append(tuple(float(entry[op]) for op in edge.candidates))
        found[cell] = tuple(rows)
    conditions = {key: source[key] for key in CONDITIONS if key in source}
    if isinstance(conditions.get('shape'), tuple):  # as JSON has it
        conditions['shape'] = list(conditions['shape'])
    return CostTable(found, conditions, where, str(source.get('unit', '')))


def _is_cost(value: Any) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value) and value >= 0
    except OverflowError:  # an integer that no float holds
        return False
