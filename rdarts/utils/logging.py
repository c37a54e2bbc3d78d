"""What the log holds: some lines once, and none that tells nobody anything."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import print_log

_told: set[str] = set()
_silent = False


def tell(message: str) -> None:
    """Log a line, but not within :func:`untold`."""
    if not _silent:
        print_log(message, 'current')


def tell_once(message: str) -> None:
    """Log a line, the first time in this process."""
    if message not in _told and not _silent:
        _told.add(message)
        tell(message)


@contextmanager
def untold() -> Iterator[None]:
    """Within, :func:`tell` says nothing, nor does :func:`tell_once`, which may say it later."""
    global _silent
    before, _silent = _silent, True
    try:
        yield
    finally:
        _silent = before


# What mmengine warns of itself, or says at every checkpoint and epoch, and tells nobody anything
NOISE = (
    *('"FileClient" will', '"HardDiskBackend" is', 'Exp name: ', 'Loads checkpoint by '),
    '`save_param_scheduler` is True but',  # where the config has no schedule
    'Using env variable `RDARTS_DATA`',  # of each file that a config has it in
)


def quiet_log(record: logging.LogRecord) -> bool:
    """A filter of log records: without noise, and with our own command for mmcv's operators.

    Returns:
        bool: Whether the record is to be logged.
    """
    text = record.getMessage()
    if text.startswith('Line NMS is not compiled'):  # of mmdet, when it is imported
        if importlib.util.find_spec('mmcv._ext') is not None:
            return False
        record.args = ()
        record.msg = (
            'mmcv is installed without its compiled operators, which detection alone needs: build '
            'them by `make install-detection` (in a clone) or `python tools/install_detection.py`'
        )
    return not text.startswith(NOISE)
