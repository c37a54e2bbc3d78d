"""Lines that the log holds once."""

from __future__ import annotations

from mmengine.logging import print_log

_told: set[str] = set()


def tell_once(message: str) -> None:
    """Log a line, the first time in this process."""
    if message not in _told:
        _told.add(message)
        print_log(message, 'current')
