"""Cost tables: what every candidate of every edge costs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rdarts.errors import UserError
from rdarts.search_spaces.base import SearchSpace


def read_costs(
    source: str | os.PathLike | Mapping[str, Any], space: SearchSpace
) -> dict[str, tuple[tuple[float, ...], ...]]:
    """Read and check a cost table.

    Args:
        source (str | PathLike | dict): A JSON file that ``tools/benchmarks/cost_table.py`` wrote,
            or its data: ``space``, ``unit`` and ``costs``, which maps each cell type to one entry
            an edge, operation -> cost.
        space (SearchSpace): The space that it must be of.

    Returns:
        dict: Cell type -> for each edge the cost of each candidate, in the candidates' order.

    Raises:
        UserError: It cannot be read, is of another space, or lacks an entry; or one is no number,
            infinite, NaN or negative.
    """
    where = 'cost table'
    if not isinstance(source, Mapping):
        where = str(source)
        try:
            source = json.loads(Path(source).read_text(encoding='utf-8'))
        except OSError as error:
            raise UserError(f'cannot read the cost table {where}: {error.strerror}') from None
        except ValueError:
            raise UserError(f'{where}: no JSON; tools/benchmarks/cost_table.py writes it') from None
    if not isinstance(source, Mapping) or not isinstance(source.get('costs'), Mapping):
        raise UserError(f"{where}: a cost table is an object with 'space', 'unit' and 'costs'")
    if source.get('space') != space.name:
        raise UserError(
            f"{where}: it is of the space '{source.get('space')}', but '{space.name}' is needed"
        )
    found = {}
    for cell, topology in space.cells.items():
        edges = source['costs'].get(cell)
        if not isinstance(edges, (list, tuple)) or len(edges) != len(topology.edges):
            raise UserError(f"{where}: '{cell}' needs {len(topology.edges)} entries, one an edge")
        rows = []
        for edge, entry in zip(topology.edges, edges, strict=True):
            name = f'{where}: {cell}, edge {edge.source} -> {edge.target}'
            if not isinstance(entry, Mapping):
                raise UserError(f'{name}: it must map operations to costs, but is {entry!r}')
            missing = [op for op in edge.candidates if op not in entry]
            if missing:
                raise UserError(f"{name}: no cost of '{missing[0]}'")
            for op in edge.candidates:
                value = entry[op]
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                if not number or not math.isfinite(value) or value < 0:
                    raise UserError(
                        f"{name}: the cost of '{op}' must be 0 or more, but is {value!r}"
                    )
            rows.append(tuple(float(entry[op]) for op in edge.candidates))
        found[cell] = tuple(rows)
    return found
