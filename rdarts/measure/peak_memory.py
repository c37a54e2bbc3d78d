"""Resident memory of this process, and its peak within a block."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from rdarts.errors import UserError

STATUS = Path('/proc/self/status')
CLEAR_REFS = Path('/proc/self/clear_refs')


def read_mb(key: str) -> float:
    """``VmRSS`` (resident now) or ``VmHWM`` (its peak) of this process, MB of 2^20 bytes.

    Raises:
        UserError: The system does not tell.
    """
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        raise UserError('memory is read from /proc/self/status: this needs Linux') from None
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{key}:')) / 1024


class Peak:
    """The peak of resident memory within a ``with`` block, MB.

    ``method`` says how it was found: ``'VmHWM'``, the kernel's own mark, set back at the start;
    or ``'sampled'`` every millisecond where the kernel does not let us.
    """

    def __enter__(self) -> Peak:
        self.mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        try:
            CLEAR_REFS.write_text('5')
            # a sandbox may take the write and do nothing
            self.method = 'VmHWM' if read_mb('VmHWM') < read_mb('VmRSS') + 1 else 'sampled'
        except OSError:
            self.method = 'sampled'
        if self.method == 'sampled':
            self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.is_set():
            self.mb = max(self.mb, read_mb('VmRSS'))
            time.sleep(1e-3)

    def __exit__(self, *error: Any) -> None:
        if self.method == 'VmHWM':
            self.mb = read_mb('VmHWM')
        else:
            self._stop.set()
            self._thread.join()
