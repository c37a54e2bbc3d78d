"""What the log holds: some lines once, and none that tells nobody anything."""

from __future__ import annotations

import importlib.util
import logging

from mmengine.logging import print_log

_told: set[str] = set()


def tell_once(message: str) -> None:
    """Log a line, the first time in this process."""
    if message not in _told:
        _told.add(message)
        print_log(message, 'current')


# What mmengine warns of itself, or says at every checkpoint and epoch, and tells nobody anything
NOISE = ('"FileClient" will', '"HardDiskBackend" is', 'Exp name: ', 'Loads checkpoint by ')


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
