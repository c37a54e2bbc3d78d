"""A process that is known again: a number alone is given to another one when it is over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

OVER = 'ZX'  # states of a process that has ended, whose parent has not asked how


@dataclass(frozen=True)
class ProcessIdentity:
    """Tells a process from all others, also of other machines and of later days.

    Args:
        host (str): The name of its machine.
        number (int): Its number there.
        started (str): When it was started, as its system has it: on Linux in ticks since the
            machine was.
    """

    host: str
    number: int
    started: str

    @classmethod
    def of(cls, number: int) -> ProcessIdentity | None:
        """That of a process of this machine; None where it is not there.

        Args:
            number (int): Its number.
        """
        seen = _look(number)
        return None if seen is None else cls(socket.gethostname(), number, seen[1])

    @classmethod
    def parse(cls, data: Any) -> ProcessIdentity | None:
        """What :meth:`as_data` gave; None of anything else."""
        if not isinstance(data, Mapping):
            return None
        host, number, started = (data.get(key) for key in ('host', 'number', 'started'))
        if not isinstance(host, str) or type(number) is not int or not isinstance(started, str):
            return None
        return cls(host, number, started) if number > 0 else None

    def as_data(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @property
    def is_here(self) -> bool:
        """Whether it is of this machine, which alone can see it."""
        return self.host == socket.gethostname()

    def is_running(self) -> bool:
        """Whether this very process is there, and has not ended."""
        seen = _look(self.number) if self.is_here else None
        return seen is not None and seen[0] not in OVER and seen[1] == self.started

    def send(self, number: int | signal.Signals) -> None:
        """Send it a signal; nothing where it has ended."""
        if self.is_running():
            with suppress(OSError):  # it has just ended
                os.kill(self.number, number)

    def __str__(self) -> str:
        return f'process {self.number} of {"this machine" if self.is_here else self.host}'


def _look(number: int) -> tuple[str, str] | None:
    """State and start of a process of this machine; None where it is not there."""
    if os.path.exists('/proc/self/stat'):
        try:
            text = Path(f'/proc/{number}/stat').read_text(errors='replace')
        except OSError:
            return None
        fields = text.rpartition(')')[2].split()  # the name before may hold anything
        return fields[0], fields[19]
    command = ['ps', '-o', 'stat=,lstart=', '-p', str(number)]
    environment = {**os.environ, 'LC_ALL': 'C'}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    except OSError:
        return None
    state, _, started = done.stdout.strip().partition(' ')
    return (state[:1], started.strip()) if state else None
