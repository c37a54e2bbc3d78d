"""mmengine's message hub as plain data, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from rdarts.checkpoint.run_state import check_message_hub

HISTORY = 10_000  # logged values of each scalar that are kept, for smoothed logs


def _plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(item) for key, item in value.items())
    return value is None or isinstance(value, (str, int, float, bool))


def _without_numpy(value: Any) -> Any:
    """Numpy's numbers as Python's, so that anybody's ``weights_only=True`` loads them."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _without_numpy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_numpy(item) for item in value]
    return value


def bound_histories(hub: MessageHub) -> None:
    """Let a run keep no more of the logged values than its checkpoints do.

    mmengine keeps a million of each scalar, and copies them all to add one: by then that takes
    longer than a small step.
    """
    for buffer in hub.log_scalars.values():
        buffer.max_length = HISTORY


def pack_message_hub(hub: Mapping[str, Any]) -> dict[str, Any]:
    """mmengine's message hub without its classes."""
    histories = {}
    for key, buffer in hub['log_scalars'].items():
        values, counts = (np.asarray(a, dtype=np.float64)[-HISTORY:] for a in buffer.data)
        histories[key] = [torch.from_numpy(values), torch.from_numpy(counts), buffer.max_length]
    info = _without_numpy(dict(hub['runtime_info']))
    info = {key: value for key, value in info.items() if _plain(value)}
    return dict(histories=histories, runtime_info=info, resumed_keys=dict(hub['resumed_keys']))


def unpack_message_hub(hub: Any) -> Any:
    """What mmengine takes; its own form as it is.

    Raises:
        EntryError: It is no message hub.
    """
    check_message_hub(hub)
    if 'histories' not in hub:
        return hub
    scalars = {
        key: HistoryBuffer(values.cpu().numpy(), counts.cpu().numpy(), max_length)
        for key, (values, counts, max_length) in hub['histories'].items()
    }
    return dict(
        log_scalars=scalars, runtime_info=hub['runtime_info'], resumed_keys=hub['resumed_keys']
    )
