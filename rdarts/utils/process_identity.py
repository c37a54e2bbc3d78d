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

BOOT = Path('/proc/sys/kernel/random/boot_id')
OVER = 'ZX'  # states of a process that has ended, whose parent has not asked how


@dataclass(frozen=True)
class ProcessIdentity:
    """Tells a process from all others, also of other machines and of later days.

    Args:
        host (str): The name of its machine.
        number (int): Its number there.
        started (str): When it was started, as its system has it: on Linux in ticks since the
            machine was.
        boot (str): Its machine's last start, which tells machines of one name from each other.
            Defaults to nothing: it is not known, as where there is no ``/proc``.
    """

    host: str
    number: int
    started: str
    boot: str = ''

    @classmethod
    def of(cls, number: int) -> ProcessIdentity | None:
        """That of a process of this machine; None where it is not there.

        Args:
            number (int): Its number.
        """
        seen = _look(number)
        return None if seen is None else cls(socket.gethostname(), number, seen[1], _boot())

    @classmethod
    def parse(cls, data: Any) -> ProcessIdentity | None:
        """What :meth:`as_data` gave; None of anything else."""
        if not isinstance(data, Mapping):
            return None
        host, number, started = (data.get(key) for key in ('host', 'number', 'started'))
        boot = data.get('boot', '')
        if not all(isinstance(text, str) for text in (host, started, boot)):
            return None
        return cls(host, number, started, boot) if type(number) is int and number > 0 else None

    def as_data(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @property
    def is_here(self) -> bool:
        """Whether it is of this machine since its last start, which alone can see it."""
        return self.host == socket.gethostname() and self.boot in ('', _boot())

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


def _boot() -> str:
    """What this machine calls its last start; nothing where it does not say."""
    try:
        return BOOT.read_text(errors='replace').strip()
    except OSError:
        return ''


def _look(number: int) -> tuple[str, str] | None:
    """State and start of a process of this machine; None where it is not there."""
    if os.path.exists('/proc/self/stat'):
        try:
            text = Path(f'/proc/{number}/stat').read_text(errors='replace')
        except OSError:
            return None
        fields = text.rpartition(')')[2].split()  # the name before may hold anything
        return fields[0], fields[19]
    # one -o each: elsewhere than on Linux all behind a '=' is a title
    command = ['ps', '-o', 'stat=', '-o', 'lstart=', '-p', str(number)]
    environment = {**os.environ, 'LC_ALL': 'C'}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    except OSError:
        return None
    state, _, started = done.stdout.strip().partition(' ')
    started = started.strip()
    return (state[:1], started) if started else None
