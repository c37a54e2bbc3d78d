"""The signals that ask a run to stop: noted, answered at once, and heard by all ranks alike."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from mmengine.dist import all_reduce, get_dist_info

from rdarts.utils.stop_signals import catch_signals, signal_name


def agreed(value: torch.Tensor, how: str = 'max') -> torch.Tensor:
    """What all ranks say alike of a number of each: their largest, or their smallest.

    Args:
        value (Tensor): One number, on the CPU.
        how (str): ``'max'`` or ``'min'``. Defaults to ``'max'``.

    Returns:
        Tensor: The number, on the device of the process group where there is one.
    """
    if get_dist_info()[1] > 1:
        backend = torch.distributed.get_backend()
        value = value.to('cuda' if backend == 'nccl' else 'cpu')
        all_reduce(value, how)
    return value


class StopRequest:
    """Whether somebody has asked this run to stop.

    The first signal says what is being finished; a second Ctrl-C stops at once.
    """

    def __init__(self) -> None:
        self.number = 0  # of the signal that came, on this rank
        self.doing = ''  # what a signal waits for
        self._speaks = self._saves = True
        self._pid = os.getpid()
        self._handlers: dict[int, Any] = {}

    def listen(self, speaks: bool, doing: str, saves: bool = True) -> None:
        """Note signals from now on; only the main thread can.

        Args:
            speaks (bool): Whether this process answers them.
            doing (str): What the first of them waits for.
            saves (bool): Whether what is done by then is saved. Defaults to True.
        """
        self._speaks, self.doing, self._saves = speaks, doing, saves
        self._pid = os.getpid()
        if threading.current_thread() is threading.main_thread():
            self._handlers = catch_signals(self.note)

    def release(self) -> None:
        """Give the signals back to whom they belonged."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def note(self, number: int, frame: Any) -> None:
        """The handler of the signals.

        Raises:
            KeyboardInterrupt: It is the second Ctrl-C.
        """
        if os.getpid() != self._pid:
            return  # a forked worker: Ctrl-C is its parent's matter
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        first, self.number = not self.number, number
        if first and self._speaks:
            saved = ', with a checkpoint' if self._saves else ''
            line = (
                f'{signal_name(number)}: stops after {self.doing}{saved}; '
                'Ctrl-C again stops at once\n'
            )
            with suppress(OSError):  # nobody reads it; `print` is not for handlers of signals
                os.write(2, (b'\n' if os.isatty(2) else b'') + line.encode())

    def of_any_rank(self) -> int:
        """The signal that any rank got, or 0."""
        return int(agreed(torch.tensor(self.number)))


# A forked worker, such as mmdet's at VOC's evaluation, is ended by SIGTERM at once. A handler in
# Python would not do: it may never run where the worker waits for a lock. The signal is held back
# until the worker has put the handler off, so that none is lost in between.
_held = threading.local()


def _before_fork() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    if getattr(handler, '__func__', None) is StopRequest.note:
        _held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _after_fork(child: bool) -> None:
    mask = getattr(_held, 'mask', None)
    if mask is not None:
        _held.mask = None
        if child:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


if hasattr(os, 'register_at_fork'):  # not on Windows
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=partial(_after_fork, False),
        after_in_child=partial(_after_fork, True),
    )
