"""Processes of this machine, among which its cores and GPUs are shared out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rdarts.errors import UserError
from rdarts.study.executors.base import LOG, Executor, Job, Outcome
from rdarts.utils.machine import shared_environment


class LocalExecutor(Executor):
    """Runs jobs as processes of this machine.

    Each has an equal share of the cores that may be used, unless ``OMP_NUM_THREADS`` is set, and of
    several GPUs one, in turn. They are told to end when the command ends.

    Args:
        places (int): How many run at a time. Defaults to 1.
    """

    name = 'local'
    interval = 0.2

    def __init__(self, places: int = 1) -> None:
        super().__init__(places)
        self._devices = visible_devices()
        self._running: dict[str, tuple[int, subprocess.Popen, int]] = {}

    def submit(self, job: Job) -> str:
        """See base class. The process is in a session of its own: only this one tells it to stop.

        Returns:
            str: The process's number.
        """
        taken = {place for place, *_ in self._running.values()}
        place = next(i for i in range(self.places) if i not in taken)
        env = {**shared_environment(self.places), **job.env}
        if self._devices:
            env['CUDA_VISIBLE_DEVICES'] = self._devices[place % len(self._devices)]
        try:
            with open(job.folder / LOG, 'ab') as log:
                start = log.tell()
                process = subprocess.Popen(
                    job.command,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=env,
                    start_new_session=True,
                )
        except OSError as error:
            raise UserError(f'{job.folder}: cannot start a run: {error.strerror}') from None
        self._running[job.token] = (place, process, start)
        return str(process.pid)

    def poll(self, jobs: Sequence[Job]) -> dict[str, Outcome]:
        """See base class."""
        found = {}
        for job in jobs:
            _, process, start = self._running.get(job.token, (0, None, 0))
            if process is None:
                found[job.token] = Outcome(None, 'it was not started by this command')
            elif process.poll() is not None:
                del self._running[job.token]
                found[job.token] = Outcome(process.returncode, log_start=start)
        return found

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Let processes save and end; told twice, it kills them."""
        found = [self._running.pop(job.token) for job in jobs if job.token in self._running]
        self._end([process for _, process, _ in found])

    def _end(self, processes: Sequence[subprocess.Popen]) -> None:
        for process in processes:
            process.terminate()
        try:
            for process in processes:
                process.wait()
        except BaseException:
            for process in processes:
                process.kill()
                process.wait()
            raise

    def leave(self) -> None:
        """See base class: here all end."""
        self._end([process for _, process, _ in self._running.values()])
        self._running.clear()

    def farewell(self, count: int) -> str:
        """See base class."""
        return 'the same command again goes on with what was running'


def visible_devices() -> list[str]:
    """The GPUs, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = os.environ.get('CUDA_VISIBLE_DEVICES')
    if named is not None:
        return [name for name in named.split(',') if name]
    return [str(index) for index in range(torch.cuda.device_count())]


def is_running(process: Any, folder: Path) -> bool:
    """Whether a process that was started for a folder is still there.

    Args:
        process (Any): Its number, as a file has it.
        folder (Path): The folder.
    """
    try:
        command = Path(f'/proc/{int(process)}/cmdline').read_bytes()
        return os.fsencode(folder) in command
    except (OSError, TypeError, ValueError):
        return False  # not there, or no Linux
