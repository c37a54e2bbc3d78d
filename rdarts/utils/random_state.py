"""The random states of the process: saved, restored, and kept out of other code's way."""

from __future__ import annotations

import multiprocessing.queues
import os
import random
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from rdarts.utils.stop_signals import STOP_SIGNALS


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
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Within, PyTorch's own generators draw by a seed; after it they are as they were.

    Args:
        seed (int): The seed.
        device (torch.device, optional): Where is drawn, beside the CPU. Defaults to nowhere.
    """
    devices = [device] if device is not None and device.type == 'cuda' else []
    with torch.random.fork_rng(devices):
        if device is None or device.type == 'cpu':
            torch.default_generator.manual_seed(seed)  # torch's own visits every device
        else:
            torch.manual_seed(seed)
        yield


@contextmanager
def _signals_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _IgnoreSignals:
    """A ``worker_init_fn`` that ignores the signals to stop, whatever torch has set before it.

    SIGTERM from the main process still ends the worker: that is how it cleans up at its end.
    A batch that cannot be sent (no shared memory is left) comes back as an error.
    """

    def __init__(self, inner: Callable[[int], None] | None) -> None:
        self.inner = inner

    def __call__(self, worker: int) -> None:
        # Python's own prints a traceback, and the main process waits for ever
        multiprocessing.queues.Queue._on_queue_feeder_error = _send_error
        for number in STOP_SIGNALS:
            if number != signal.SIGTERM:
                signal.signal(number, signal.SIG_IGN)
        if hasattr(signal, 'sigwaitinfo'):  # not on macOS
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            threading.Thread(target=_exit_for, args=(os.getppid(),), daemon=True).start()
        if self.inner is not None:
            self.inner(worker)


def _send_error(queue: multiprocessing.queues.Queue, error: Exception, sent: Any) -> None:
    """Of a worker's queue: send an error in the place of the batch that it prevented."""
    raised = (type(error), error, error.__traceback__)
    queue.put((sent[0], ExceptionWrapper(raised, where='while a DataLoader worker sent a batch')))


def _exit_for(parent: int) -> None:
    """End the process at a SIGTERM that its parent sent; wait on at any other."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def shield_workers(dataloader: DataLoader) -> None:
    """Make a data loader's workers ignore the signals that ask the run to stop.

    A job manager signals the whole process group; the main process finishes its iteration
    first, and needs their batches for that. Workers still end with the main process.
    """
    if dataloader.num_workers and not isinstance(dataloader.worker_init_fn, _IgnoreSignals):
        dataloader.worker_init_fn = _IgnoreSignals(dataloader.worker_init_fn)


def iterate(dataloader: DataLoader) -> Iterator[Any]:
    """An iterator over a data loader that draws nothing from the global generators.

    Its workers are shielded from signals: see :func:`shield_workers`.
    """
    shield_workers(dataloader)
    with preserve_random_state(), _signals_ignored():
        try:
            return iter(dataloader)
        except Exception as error:
            # else its destructor complains of what the constructor did not reach
            for frame, _ in traceback.walk_tb(error.__traceback__):
                unfinished = frame.f_locals.get('self')
                if isinstance(unfinished, _MultiProcessingDataLoaderIter):
                    unfinished._shutdown = True
            raise
