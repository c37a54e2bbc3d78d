"""A search space as plain data, as the log of a search holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rdarts.errors import UserError
from rdarts.registry import GENOTYPE_FORMS
from rdarts.search_spaces.base import SearchSpace, Stage
from rdarts.search_spaces.belongings import read_belongings, to_belongings
from rdarts.search_spaces.tables import cell_space

NOTHING = dict(
    supernet=None, network=None, stems=(), config_name='', table=None, retraining={}, detection=()
)


def to_data(space: SearchSpace) -> dict[str, Any]:
    """The topology of a space and what is said of its operations, without costs.

    Args:
        space (SearchSpace): The space.

    Returns:
        dict: JSON data; the inverse is :func:`from_data`.
    """
    return dict(
        name=space.name,
        genotype=space.genotype,
        discretizer=space.discretizer,
        cells={
            cell: dict(
                num_inputs=topology.num_inputs,
                num_nodes=topology.num_nodes,
                output=topology.output,
                edges=[[e.source, e.target, list(e.candidates)] for e in topology.edges],
            )
            for cell, topology in space.cells.items()
        },
        groups={group.name: list(group.edges) for group in space.groups},
        parameter_free=sorted(space.parameter_free & set(space.candidates)),
        operation_args={name: dict(args) for name, args in space.operation_args.items()},
        repeated_edges=space.repeated_edges,
        stages=[[stage.width, stage.depth, stage.stride] for stage in space.stages],
        belongs=to_belongings(space),
    )


def from_data(data: Any) -> SearchSpace:
    """The space that data describe; nothing that they name is looked up or called.

    Args:
        data: What :func:`to_data` gave.

    Raises:
        UserError: They describe none.
    """
    if not isinstance(data, Mapping):
        raise UserError(f'a search space must be an object, but is a {type(data).__name__}')
    form, cells = data.get('genotype'), data.get('cells')
    if not isinstance(form, str) or form not in GENOTYPE_FORMS.module_dict:
        known = ', '.join(sorted(GENOTYPE_FORMS.module_dict))
        raise UserError(f"the space's genotype must be one of {known}")
    for cell, table in cells.items() if isinstance(cells, Mapping) else ():
        # not from `candidates` alone, which could mean any number of edges
        if not isinstance(table, Mapping) or 'edges' not in table:
            raise UserError(f"the space's cell '{cell}' has no edges")
    free, arguments = data.get('parameter_free', []), data.get('operation_args', {})
    if not isinstance(free, list) or not all(isinstance(name, str) for name in free):
        raise UserError("the space's parameter_free must be a list of names")
    if not isinstance(arguments, Mapping) or not all(
        isinstance(args, Mapping) for args in arguments.values()
    ):
        raise UserError("the space's operation_args must be an object of objects")
    space = cell_space(data.get('name'), cells, str(data.get('discretizer')), arguments, free)
    if not GENOTYPE_FORMS.module_dict[form].fits(space.cells):
        raise UserError(f"the space's cells are not of the form {form}")
    space = replace(
        space,
        genotype=form,
        repeated_edges=data.get('repeated_edges') is True,
        stages=_stages(data.get('stages', [])),
        **{**NOTHING, **read_belongings(space.name, data.get('belongs', {}))},
    )
    if data.get('groups') != {group.name: list(group.edges) for group in space.groups}:
        raise UserError("the space's groups are not those of its cells")
    return space


def _stages(rows: Any) -> tuple[Stage, ...]:
    listed = isinstance(rows, list) and all(isinstance(row, list) and len(row) == 3 for row in rows)
    if not listed or not all(type(value) is int for row in rows for value in row):
        raise UserError("the space's stages must be lists of width, depth and stride")
    return tuple(Stage(*row) for row in rows)
