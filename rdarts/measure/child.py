"""Processes that measure when they are told to."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rdarts.errors import RunFailed
from rdarts.utils import machine


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
        of_threads = (*machine.WAITING, machine.THREADS, 'OMP_WAIT_POLICY', 'MKL_NUM_THREADS')
        kept = {key: value for key, value in os.environ.items() if key not in of_threads}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**kept, 'CUDA_VISIBLE_DEVICES': '', **env},
            preexec_fn=None if group is None else lambda: join(group),
        )

    def wait_until_ready(self) -> None:
        """Until it has warmed up.

        Raises:
            RunFailed: It has ended before; the line says why.
        """
        if self.process.stdout.readline() != 'ready\n':
            raise RunFailed(f'a measurement failed: {self._last_error()}')

    def tell(self) -> None:
        """To begin, or to end."""
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
        line = self.process.stdout.readline()
        if not line:
            raise RunFailed(f'a measurement failed: {self._last_error()}')
        return json.loads(line)

    def result(self) -> dict[str, Any]:
        """What it has measured, as its last line says; it ends.

        Raises:
            RunFailed: It has failed; the line says why.
        """
        out, err = self.process.communicate()
        if self.process.returncode:
            raise RunFailed(f'a measurement failed: {err.strip() or self.process.returncode}')
        return json.loads(out.splitlines()[-1])

    def kill(self) -> None:
        """End it, where it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _last_error(self) -> str:
        _, err = self.process.communicate()
        lines = err.strip().splitlines() or [f'exit code {self.process.returncode}']
        return lines[-1].removeprefix('error: ')


def join(group: Path) -> None:
    """Move this process into a control group."""
    (group / 'cgroup.procs').write_text(str(os.getpid()))
