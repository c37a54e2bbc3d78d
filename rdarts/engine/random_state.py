"""The random states of the process: saved, restored, and kept out of other code's way."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader


def get_random_state() -> dict[str, Any]:
    """The states of Python's, numpy's and torch's global generators.

    Returns:
        dict: Tensors, numbers and lists only, so that it loads with ``weights_only=True``.
    """
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return dict(
        python=[version, list(words), gauss],
        numpy=[name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    )


def set_random_state(state: dict[str, Any]) -> None:
    """Inverse of :func:`get_random_state`."""
    version, words, gauss = state['python']
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state['numpy']
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state['torch'].cpu())
    if state['cuda'] and len(state['cuda']) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([cuda.cpu() for cuda in state['cuda']])


@contextmanager
def preserve_random_state() -> Iterator[dict[str, Any]]:
    """What runs inside leaves the global generators as they were; yields their states."""
    state = get_random_state()
    try:
        yield state
    finally:
        set_random_state(state)


@contextmanager
def _signals_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def iterate(dataloader: DataLoader) -> Iterator[Any]:
    """An iterator over a data loader that draws nothing from the global generators.

    Its workers are made to ignore the signals that ask the run to stop: the main process
    finishes its iteration first, and needs their batches for that.
    """
    with preserve_random_state(), _signals_ignored():
        return iter(dataloader)
