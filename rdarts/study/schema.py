"""Keys of what a study says, and what each may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rdarts.configuration.declarations import describe, fits
from rdarts.errors import UserError, nearest

# of a name that is a folder: one that begins so is neither hidden nor above another
FOLDER_NAME = re.compile(r'\w[\w.-]*')
FOLDER_NAME_SAYS = 'must be of letters, digits and . _ -, as it is part of a folder'
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


def check_options(part: Mapping[str, Any], names: Sequence[str], place: str) -> None:
    """Keys of options are texts, as ``KEY`` of ``KEY=VALUE`` is.

    Args:
        part (Mapping[str, Any]): What is written.
        names (Sequence[str]): Which of its keys hold options, where they are a dict.
        place (str): Where it is written, for the error.

    Raises:
        UserError: One is none.
    """
    for name in names:
        options = part.get(name)
        for key in options if isinstance(options, Mapping) else ():
            if not isinstance(key, str) or not key.strip():
                raise UserError(f'{place}.{name} must have keys of a config, but has {key!r}')


def check_seeds(study: Mapping[str, Any], place: str) -> None:
    """The seeds of a study are some, from 0 on.

    Args:
        study (Mapping[str, Any]): Its entry.
        place (str): Where it is written, for the error.

    Raises:
        UserError: They are not.
    """
    for key, least in (('seeds', 1), ('first_seed', 0)):
        if study.get(key, least) < least:
            raise UserError(f'{place}: study.{key} must be {least} or more, but is {study[key]}')


def check_scale(study: Mapping[str, Any], place: str) -> None:
    """A small scale says what it is.

    Args:
        study (Mapping[str, Any]): Its entry.
        place (str): Where it is written, for the error.

    Raises:
        UserError: It does not.
    """
    if 'small' in study and not study['small'].get('says'):
        raise UserError(f'{place}: study.small.says is missing: what the tables say of the scale')
