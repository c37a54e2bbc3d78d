"""The layout of a checkpoint: which entries it has, of which types, dtypes and shapes.

A checkpoint holds its own, so that an entry that was lost, added or changed since is noticed,
whoever wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from rdarts.checkpoint.schema import EntryError, joined, shown

KEY = 'layout'


def layout_of(value: Any) -> Any:
    """The layout of a value, as JSON holds it."""
    if isinstance(value, Mapping):
        return {_key(key): layout_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        kind = 'list' if isinstance(value, list) else 'tuple'
        items = [layout_of(item) for item in value]
        if items and isinstance(items[0], str) and all(item == items[0] for item in items):
            return [kind, len(items), items[0]]  # of thousands of numbers as short as of one
        return [kind, items]
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return f'{str(value.dtype).removeprefix("torch.")} {list(value.shape)}'
    return type(value).__name__


def _key(key: Any) -> str:
    return key if isinstance(key, str) else f'[{key!r}]'


def add_layout(checkpoint: dict[str, Any]) -> None:
    """Write the layout of a checkpoint into it: the last thing before it is saved."""
    checkpoint[KEY] = json.dumps(layout_of(checkpoint))


def check_layout(checkpoint: Mapping[str, Any]) -> None:
    """Compare a checkpoint with the layout that it was saved with, where it has one.

    Entries that a hook has added after the layout was taken are passed over at the top.

    Raises:
        EntryError: Something differs; the line names the entry.
    """
    if KEY not in checkpoint:
        return
    try:
        saved = json.loads(checkpoint[KEY])
    except (TypeError, ValueError, RecursionError):
        saved = None
    if not isinstance(saved, dict):
        raise EntryError(KEY, f'is {shown(checkpoint[KEY])}, but must be the layout as JSON')
    known = {key: value for key, value in checkpoint.items() if _key(key) in saved}
    _compare(saved, layout_of(known), known, '')


def _compare(saved: Any, own: Any, value: Any, path: str) -> None:
    if saved == own:
        return
    if isinstance(saved, dict) and isinstance(own, dict):
        values = {_key(key): (key, item) for key, item in value.items()}
        for key, layout in saved.items():
            if key not in own:
                raise EntryError(joined(path, key), 'is missing')
            _compare(layout, own[key], values[key][1], joined(path, values[key][0]))
        more = next(key for key in own if key not in saved)
        raise EntryError(joined(path, values[more][0]), 'was not there when it was saved')
    if _kind(saved) == _kind(own) and len(saved) == len(own) == 2:
        if len(saved[1]) == len(own[1]):
            for index, (layout, item) in enumerate(zip(saved[1], own[1], strict=True)):
                _compare(layout, item, value[index], f'{path}[{index}]')
    raise EntryError(
        path or KEY, f'is {shown(value)}, but was {_described(saved)} when it was saved'
    )


def _kind(layout: Any) -> Any:
    return layout[0] if isinstance(layout, list) and layout else type(layout)


def _described(layout: Any) -> str:
    if isinstance(layout, dict):
        return f'a dict of {len(layout)}'
    if isinstance(layout, list) and len(layout) == 3:
        return f'a {layout[0]} of {layout[1]} x {layout[2]}'
    if isinstance(layout, list) and len(layout) == 2 and isinstance(layout[1], list):
        return f'a {layout[0]} of {len(layout[1])}'
    return f'{layout}'[:60]
