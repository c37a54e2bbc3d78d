"""A row of a search's log: what is read of it, and what one of an epoch must hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rdarts.errors import UserError
from rdarts.search_spaces import SearchSpace

TIME_LIMIT = 'time_limit'  # by which the last row of a search says that its time was over


def is_count(value: Any) -> bool:
    """Whether it is a whole number, 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def number(value: Any, *keys: str) -> float | None:
    """A finite number at a place in nested data, or None.

    Args:
        value: The data, such as a row of the log.
        *keys (str): Where in it.
    """
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def tells_of_alpha(row: Mapping[str, Any]) -> bool:
    """Whether a row of kind ``epoch`` is of a search with alpha, not of a supernet alone."""
    return row.get('alpha') != {}


def check_epoch(row: Mapping[str, Any], space: SearchSpace, where: str) -> None:
    """A row of kind ``epoch`` holds what pictures and the report are made of.

    Args:
        row (dict): The row.
        space (SearchSpace): What was searched.
        where (str): The file and the epoch, for errors.

    Raises:
        UserError: It lacks something, or has something else in its place.
    """
    for key in ('genotype', 'weights', 'mean_entropy', 'kinds', 'skip_connections'):
        if key not in row:
            raise UserError(
                f"{where}: no '{key}'; a search writes it with GenotypeHook and "
                'AlphaStatisticsHook in default_hooks'
            )
    kinds = row['kinds']
    fits = dict(
        genotype=isinstance(row['genotype'], str),
        weights=isinstance(row['weights'], dict),
        mean_entropy=number(row, 'mean_entropy') is not None,
        kinds=isinstance(kinds, dict)
        and all(number(kinds, k, w) is not None for k in kinds for w in ('weight', 'entropy')),
        skip_connections=is_count(row['skip_connections']),
        edge_weights=isinstance(row.get('edge_weights', {}), dict),
        alive=isinstance(row.get('alive', {}), dict),
    )
    for key, fit in fits.items():
        if not fit:
            raise UserError(f"{where}: '{key}' is not what a search logs; was alpha finite?")
    if 'stopped' in row:
        _check_stop(row['stopped'], row['epoch'], where)
    for group in space.groups:
        shape = (len(group.edges), len(group.candidates))
        if not _are_numbers(row['weights'].get(group.name), shape):
            raise UserError(
                f"{where}: the weights of group '{group.name}' must be {shape[0]} x "
                f'{shape[1]} finite numbers: one for each candidate of its space'
            )
    for cell, topology in space.cells.items():
        count = len(topology.edges)
        weights = row.get('edge_weights', {})
        if cell in weights and not _are_numbers(weights[cell], (count,)):
            raise UserError(
                f"{where}: the edge_weights of cell '{cell}' must be {count} finite numbers: one "
                'for each edge'
            )
        sizes = [len(edge.candidates) for edge in topology.edges]
        if 'alive' in row and not _are_flags(row['alive'].get(cell), sizes):
            raise UserError(
                f"{where}: 'alive' of cell '{cell}' must say of each candidate of its "
                f'{count} edges true or false, and not false of all'
            )


def _check_stop(stopped: Any, epoch: int, where: str) -> None:
    kept = stopped.get('kept_epoch') if isinstance(stopped, dict) else None
    if not is_count(kept) or not 1 <= kept <= epoch:
        raise UserError(f"{where}: 'stopped' must say kept_epoch, an epoch up to this one")
    if not isinstance(stopped.get('by'), str):
        raise UserError(f"{where}: 'stopped' must say by what, a name")


def _are_numbers(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether nested lists are a table of finite numbers."""
    try:
        table = np.array(value)
    except ValueError:
        return False
    return table.shape == shape and table.dtype.kind in 'if' and bool(np.isfinite(table).all())


def _are_flags(value: Any, sizes: Sequence[int]) -> bool:
    """Whether it is a list of truth values for each edge, not all of which are false."""
    return (
        isinstance(value, list)
        and len(value) == len(sizes)
        and all(
            isinstance(flags, list)
            and len(flags) == size
            and all(isinstance(flag, bool) for flag in flags)
            for flags, size in zip(value, sizes, strict=True)
        )
        and any(any(flags) for flags in value)
    )
