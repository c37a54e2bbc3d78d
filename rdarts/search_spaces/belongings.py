"""What belongs to a space, named by registry keys and names of configs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from rdarts.errors import UserError, nearest
from rdarts.search_spaces.base import SearchSpace


class Belongings(TypedDict, total=False):
    """The fields of a :class:`SearchSpace` of the same names, as a table sets them."""

    supernet: str | None
    network: str | None
    stems: Sequence[str]
    config_name: str
    table: str | None
    retraining: Mapping[str, str]
    detection: Sequence[str]


KEYS = tuple(Belongings.__annotations__)
NAMES = ('supernet', 'network', 'table')
LISTS = ('stems', 'detection')


def read_belongings(space: str, data: Any) -> dict[str, Any]:
    """Check what a table says of what belongs to a space; nothing that it names is looked up.

    Args:
        space (str): The space's name, for errors.
        data: :class:`Belongings`, or a part of them.

    Returns:
        dict[str, Any]: Arguments of :class:`SearchSpace`.

    Raises:
        UserError: It is no object, has an unknown key, or a value is of another kind.
    """
    where = f"space '{space}': belongs"
    if not isinstance(data, Mapping):
        raise UserError(f'{where} must be a dict, but is {data!r:.80}')
    for key in data:
        if key not in KEYS:
            raise UserError(f'{where}: unknown key {key!r}: {nearest(str(key), KEYS)}')
    found = dict(data)
    for key in NAMES:
        if not isinstance(found.get(key), (str, type(None))):
            raise UserError(f'{where}.{key} must be a name, but is {found[key]!r:.80}')
    for key in LISTS:
        if key in found:
            found[key] = _names(f'{where}.{key}', found[key])
    if not isinstance(found.get('config_name', ''), str):
        raise UserError(f'{where}.config_name must be a name, but is {found["config_name"]!r:.80}')
    if 'retraining' in found:
        table = found['retraining']
        texts = isinstance(table, Mapping) and all(
            isinstance(text, str) for pair in table.items() for text in pair
        )
        if not texts:
            raise UserError(
                f'{where}.retraining must map data sets to configs, but is {table!r:.80}'
            )
        found['retraining'] = dict(table)
    return found


def _names(where: str, values: Any) -> tuple[str, ...]:
    listed = isinstance(values, (list, tuple)) and all(isinstance(value, str) for value in values)
    if not listed:
        raise UserError(f'{where} must be a list of names, but is {values!r:.80}')
    return tuple(values)


def to_belongings(space: SearchSpace) -> dict[str, Any]:
    """What belongs to a space as plain data; :func:`read_belongings` is the inverse."""
    data = {key: getattr(space, key) for key in KEYS}
    data.update({key: list(data[key]) for key in LISTS}, retraining=dict(space.retraining))
    return data
