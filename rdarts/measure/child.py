"""Processes that measure when they are told to."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rdarts.errors import RunFailed
from rdarts.utils import machine
from rdarts.utils.last_line import last_line
from rdarts.utils.wording import named_signal


class Child:
    """A process that takes steps when it is told to.

    Args:
        command (Sequence[str]): Starts the tool that takes them.
        env (dict[str, str]): What its environment has of threads; nothing else of this one's.
        group (Path, optional): A control group for it. Defaults to this process's.
    """

    def __init__(
        self, command: Sequence[str], env: dict[str, str], group: Path | None = None
    ) -> None:
        self.line: str | None = None  # taken, but not used
        self.errors = tempfile.TemporaryFile('w+', errors='replace')  # a pipe fills up
        of_threads = (*machine.WAITING, machine.THREADS, 'OMP_WAIT_POLICY', 'MKL_NUM_THREADS')
        kept = {key: value for key, value in os.environ.items() if key not in of_threads}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**kept, 'CUDA_VISIBLE_DEVICES': '', **env},
            preexec_fn=None if group is None else lambda: join(group),
        )

    def wait_until_ready(self) -> None:
        """Until it has warmed up.

        Raises:
            RunFailed: It has ended before; the line says why.
        """
        if self._next_line() != 'ready\n':
            raise RunFailed(f'a measurement failed: {self.last_error()}')

    def tell(self) -> None:
        """To begin, or to end; where it has ended, :meth:`answer` says so."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write('\n')
            self.process.stdin.flush()

    def end(self) -> None:
        """Tell it that nothing more comes."""
        self.process.stdin.close()
        self.process.stdin = None  # which `communicate` would flush

    def answer(self) -> Any:
        """The next line that it prints, which is JSON.

        Raises:
            RunFailed: It has ended before; the line says why.
        """
        line = self._next_line()
        if not line:
            raise RunFailed(f'a measurement failed: {self.last_error()}')
        return json.loads(line)

    def result(self) -> dict[str, Any]:
        """What it has measured, as its last line says; it ends.

        Raises:
            RunFailed: It has failed; the line says why.
        """
        out, _ = self.process.communicate()
        if self.process.returncode:
            raise RunFailed(f'a measurement failed: {self._why_it_ended()}')
        return json.loads(out.splitlines()[-1])

    def kill(self) -> None:
        """End it, where it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.errors.close()

    def take_line(self) -> bool:
        """Take a line that it prints, for whichever method asks next for one.

        Returns:
            bool: Whether there was one; else it has ended.
        """
        self.line = self.process.stdout.readline()
        return self.line != ''

    def _next_line(self) -> str:
        if self.line is None:
            self.take_line()
        line, self.line = self.line, None
        return line

    def last_error(self) -> str:
        """By which signal it has ended, or its last line on stderr, or its exit code.

        Waits until it has ended.
        """
        self.process.communicate()
        return self._why_it_ended()

    def _why_it_ended(self) -> str:
        code = self.process.returncode
        if code < 0:
            return named_signal(-code)
        self.errors.seek(0)
        return last_line(self.errors.read(), f'exit code {code}').removeprefix('error: ')


def join(group: Path) -> None:
    """Move this process into a control group."""
    (group / 'cgroup.procs').write_text(str(os.getpid()))
