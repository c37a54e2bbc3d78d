"""Keys of what a study says, and what each may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rdarts.errors import UserError, nearest

Schema = Mapping[str, type | tuple[type, ...]]
WORDS = {
    str: 'a text',
    int: 'a whole number',
    float: 'a number',
    dict: 'a dict',
    list: 'a list',
    bool: 'True or False',
}


def check_keys(part: Mapping[str, Any], keys: Schema, place: str) -> None:
    """There are no others, and each holds what it may.

    Args:
        part (Mapping[str, Any]): What is written.
        keys (Schema): The keys that there are, and the types of their values.
        place (str): Where it is written, for the error.

    Raises:
        UserError: It is not so.
    """
    for key, value in part.items():
        if key not in keys:
            raise UserError(f"{place} has no key '{key}': {nearest(str(key), keys)}")
        kinds = keys[key] if isinstance(keys[key], tuple) else (keys[key],)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            named = ' or '.join(
                WORDS[kind] for kind in kinds if not (kind is int and float in kinds)
            )
            raise UserError(f'{place}.{key} must be {named}, but is {value!r}')
