"""A pseudo-terminal: what is shown on it, and what stays there."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import threading

FRAME = re.compile(r'epoch (\d+) of (\d+) [^%]*?(\d+)% *(.*)')


class Terminal:
    """A terminal whose text is kept.

    ``stream`` writes to it, and so does who opens the file ``name``.
    """

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        self.stream = os.fdopen(theirs, 'w', buffering=1)
        self.name = os.ttyname(theirs)
        self._chunks: list[bytes] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # its other end is closed
            while chunk := os.read(self._ours, 4096):
                self._chunks.append(chunk)

    def close(self) -> str:
        """What it was sent."""
        self.stream.close()
        self._reader.join()
        os.close(self._ours)
        return b''.join(self._chunks).decode()


def frames(text: str) -> list[tuple[str, str, str, str]]:
    """What a bar showed, drawing by drawing: epoch, epochs, per cent, and what stands behind it."""
    drawn = re.sub(r'\x1b\[[\d;?]*[A-Za-z]', '', text).split('\r')
    return [found.groups() for found in map(FRAME.match, drawn) if found]


def screen(text: str) -> list[str]:
    """The lines that stay on a terminal: what a bar draws over is gone."""
    lines = ['']
    for part in re.split(r'(\n|\r|\x1b\[[\d;?]*[A-Za-z])', text):
        if part == '\n':
            lines.append('')
        elif part == '\x1b[2K':
            lines[-1] = ''
        elif re.fullmatch(r'\x1b\[\d*A', part):
            lines.pop()
        elif part and not part.startswith(('\r', '\x1b')):
            lines[-1] += part
    return [line.rstrip() for line in lines]
