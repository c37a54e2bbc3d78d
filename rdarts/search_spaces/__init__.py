"""Search spaces: data tables of nodes, edges and candidates, one file a space.

The registry finds the files.
"""

from __future__ import annotations

from typing import Any

from rdarts.errors import UserError
from rdarts.registry import SEARCH_SPACES, build
from rdarts.search_spaces.base import (
    CellTopology,
    Edge,
    EdgeGroup,
    SearchSpace,
    SpaceSpec,
    Stage,
    dense_cell,
    has_normal_and_reduce,
)
from rdarts.search_spaces.tables import cell_space, layerwise_space

__all__ = [
    'CellTopology',
    'Edge',
    'EdgeGroup',
    'SearchSpace',
    'SpaceSpec',
    'Stage',
    'build_space',
    'cell_space',
    'dense_cell',
    'has_normal_and_reduce',
    'layerwise_space',
]


def build_space(space: str | dict[str, Any] | SearchSpace) -> SearchSpace:
    """The space of a name, of a config's table, or itself.

    Args:
        space (str | dict | SearchSpace): ``'darts'``, ``dict(type='CellSpace', ...)``, ...

    Raises:
        UserError: The name is not known, or the table is no space's.
    """
    built = build(space, SEARCH_SPACES)
    if not isinstance(built, SearchSpace):
        raise UserError(f'a search space must be a SearchSpace, but got {built!r}')
    return built
