"""Ctrl-C while a program starts or ends: it ends at once, and quietly.

Importing this file loads next to nothing: what comes before it is not quiet.
"""

from __future__ import annotations

import os
import signal
from typing import Any


def end_quietly() -> None:
    """Let Ctrl-C end the process without a traceback from now on; an ignored one stays ignored.

    While modules are imported, an interruption may become any error.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_at_once)


def end_at_once(number: int, frame: Any) -> None:
    """The handler of a signal that ends the process: its exit code is 128 + the signal's number."""
    os._exit(128 + number)
