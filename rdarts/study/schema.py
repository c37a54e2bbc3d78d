"""Keys of what a study says, and what each may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rdarts.configuration.declarations import describe, fits
from rdarts.errors import UserError, nearest

Schema = Mapping[str, Any]  # annotations, as components of configs declare their arguments


def check_keys(part: Mapping[str, Any], keys: Schema, place: str) -> None:
    """There are no others, and each holds what it may.

    Args:
        part (Mapping[str, Any]): What is written.
        keys (Schema): The keys that there are, and the annotations of their values.
        place (str): Where it is written, for the error.

    Raises:
        UserError: It is not so.
    """
    for key, value in part.items():
        if key not in keys:
            raise UserError(f"{place} has no key '{key}': {nearest(str(key), keys)}")
        if not fits(value, keys[key]):
            raise UserError(f'{place}.{key} must be {describe(keys[key])}, but is {value!r}')
