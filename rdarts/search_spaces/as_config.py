"""A search space as a config holds it: a name, or a table with everything that it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from rdarts.errors import UserError
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.search_spaces.as_data import to_data
from rdarts.search_spaces.costs import CostTable


def to_config(space: SearchSpace) -> str | dict[str, Any]:
    """What a config says for a space: :func:`~rdarts.search_spaces.build_space` is the inverse.

    Args:
        space (SearchSpace): The space.

    Returns:
        str | dict: The name of a registered space, or a table.

    Raises:
        UserError: No table can say it all; the line names what would be lost.
    """
    named = _built(space.name)
    differing = None if named is None else list(_differing(space, named))
    if differing == []:
        return space.name
    table = _table(space) if differing != ['costs'] else dict(type=space.name, costs=_costs(space))
    built = build_space(table)
    lost = next(_differing(space, built), None)
    if lost is not None:
        raise UserError(
            f"the space '{space.name}' cannot be written into a config: its {lost} would be "
            f'{getattr(built, lost)!r:.80}; register a function that builds it under its name '
            'in SEARCH_SPACES'
        )
    return table


def _built(name: str) -> SearchSpace | None:
    try:
        return build_space(name)
    except UserError:
        return None


def _differing(space: SearchSpace, other: SearchSpace) -> Iterator[str]:
    """The fields in which two spaces differ."""
    for field in fields(SearchSpace):
        one, two = getattr(space, field.name), getattr(other, field.name)
        if field.name == 'operation_args':
            one, two = ({name: dict(args) for name, args in each.items()} for each in (one, two))
        if one != two or _conditions(one) != _conditions(two):
            yield field.name


def _conditions(costs: Any) -> Any:
    return (costs.conditions, costs.unit) if isinstance(costs, CostTable) else None


def _table(space: SearchSpace) -> dict[str, Any]:
    data = dict(to_data(space), parameter_free=sorted(space.parameter_free))
    costs = {} if space.costs is None else dict(costs=_costs(space))
    if space.genotype == 'layerwise':
        layers = [names for cell in data['cells'].values() for *_, names in cell['edges']]
        keys = ('name', 'parameter_free', 'belongs', 'stages')
        kept = {key: data[key] for key in keys}
        return dict(type='LayerwiseSpace', layers=layers, **kept, **costs)
    keys = ('name', 'cells', 'discretizer', 'operation_args', 'parameter_free', 'belongs')
    return dict(type='CellSpace', **{key: data[key] for key in keys}, **costs)


def _costs(space: SearchSpace) -> dict[str, Any]:
    """A cost table as :func:`~rdarts.search_spaces.costs.read_costs` takes it."""
    rows: Mapping[str, Any] = space.costs
    costs = {
        cell: [
            dict(zip(edge.candidates, row, strict=True))
            for edge, row in zip(space.cells[cell].edges, edges, strict=True)
        ]
        for cell, edges in rows.items()
    }
    conditions, unit = _conditions(rows) or ({}, '')
    return dict(space=space.name, unit=unit, costs=costs, **conditions)
