"""The signals that ask a run to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name)
)


def catch_signals(handler: Callable[[int, Any], None]) -> dict[int, Any]:
    """Set a handler of the signals that ask a run to stop.

    One that is ignored stays ignored: a closed terminal (SIGHUP) under nohup, Ctrl-C in the
    background of a shell's script.

    Returns:
        dict[int, Any]: The handlers that were there, by signal.
    """
    return {
        number: signal.signal(number, handler)
        for number in STOP_SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }


def signal_name(number: int) -> str:
    """A signal as a user knows it."""
    return 'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name
