"""A run's config as data: what is shown of a run is read from it, and nothing of it is executed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Any

import numpy as np

from rdarts.errors import UserError
from rdarts.utils.files import read_text

FILE = 'config.json'
MAX_BYTES = 2**22  # of the file: a hundred times a long config
MAX_DEPTH = 60  # of lists and objects in one another
WIDTH = 88  # of a line of text


def as_data(value: Any) -> Any:
    """A part of a config as JSON holds it.

    Args:
        value: Of any type. Tuples and sets become lists, classes and functions their dotted
            names, numbers that JSON lacks their names (``'nan'``), other objects the name of
            their type.
    """
    if isinstance(value, Mapping):
        return {str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_data(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((as_data(item) for item in value), key=repr)
    if isinstance(value, (np.generic, np.ndarray)):
        return as_data(value.tolist())
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    named = value if hasattr(value, '__qualname__') else type(value)
    return f'{named.__module__}.{named.__qualname__}'


def to_json(config: Any) -> bytes:
    """What ``config.json`` holds of a config.

    Args:
        config (Config | dict): The config.
    """
    data = config.to_dict() if hasattr(config, 'to_dict') else config
    return (json.dumps(as_data(data), indent=1, allow_nan=False) + '\n').encode()


def read_config(folder: str | os.PathLike) -> dict[str, Any]:
    """The config of a work directory, from its ``config.json``.

    Raises:
        UserError: There is none, or it is no config.
    """
    path = Path(folder) / FILE
    try:
        text = read_text(path, MAX_BYTES)
    except FileNotFoundError:
        if (Path(folder) / 'config.py').exists():
            raise UserError(older(folder, FILE)) from None
        raise UserError(f'no {FILE} in {folder}: is it the work directory of a run?') from None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f'{path}: no JSON') from None
    if not isinstance(data, dict):
        raise UserError(f'{path}: a config is an object, but this is a {type(data).__name__}')
    if _is_deep(data):
        raise UserError(f'{path}: nested more than {MAX_DEPTH} deep')
    return data


def older(folder: str | os.PathLike, missing: str) -> str:
    """The line of a work directory that an earlier version wrote.

    Args:
        folder (str | PathLike): The work directory.
        missing (str): What it lacks.
    """
    return (
        f'{folder} is of an earlier version, which wrote no {missing}: resume it once '
        '(tools/train.py CONFIG --work-dir WORK_DIR --resume), also where it has ended'
    )


def _is_deep(data: Any) -> bool:
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for value in level
            if isinstance(value, (dict, list))
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True


def entry(config: Any, *keys: str) -> Any:
    """What is at a place in nested data; None where there is nothing.

    Args:
        config (Mapping): The data.
        *keys (str): Where in it.
    """
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def type_name(entry: Any) -> str:
    """The ``type`` of an entry of a config, without its module.

    Args:
        entry: The entry; a name stands for itself.
    """
    name = entry.get('type') if isinstance(entry, Mapping) else as_data(entry)
    return str(name).rsplit('.', 1)[-1]


def as_text(config: Mapping[str, Any]) -> str:
    """A config as one reads it, in Python's form.

    Args:
        config (dict): What :func:`read_config` gives.
    """
    parts = [_lines(value, f'{key} = ') for key, value in config.items()]
    return '\n'.join(line for part in parts for line in part) + '\n'


def _lines(value: Any, before: str = '', after: str = '') -> list[str]:
    """One value in Python's form: on one line where it fits, else an item a line."""
    if isinstance(value, Mapping):
        named = all(key.isidentifier() and not iskeyword(key) for key in value)
        left, right = ('dict(', ')') if named else ('{', '}')
        items = [(f'{key}=' if named else f'{key!r}: ', item) for key, item in value.items()]
    elif isinstance(value, list):
        left, right, items = '[', ']', [('', item) for item in value]
    else:
        return [f'{before}{value!r}{after}']
    parts = [_lines(item, name, ',') for name, item in items]
    flat = ' '.join(line for part in parts for line in part).removesuffix(',')
    whole = f'{before}{left}{flat}{right}{after}'
    if all(len(part) == 1 for part in parts) and len(whole) <= WIDTH:
        return [whole]
    inner = [f'    {line}' for part in parts for line in part]
    return [f'{before}{left}', *inner, f'{right}{after}']
