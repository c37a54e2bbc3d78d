"""Processes of this machine, among which its cores and GPUs are shared out."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from rdarts.errors import UserError
from rdarts.study.executors.base import LOG, Executor, Job, Outcome
from rdarts.utils.machine import shared_environment


class LocalExecutor(Executor):
    """Runs jobs as processes of this machine.

    Each has an equal share of the cores that may be used, unless ``OMP_NUM_THREADS`` is set, and of
    several GPUs one, in turn. They are told to end when the command ends; those that a killed
    command has left are waited for like its own.

    Args:
        places (int): How many run at a time. Defaults to 1.
    """

    name = 'local'
    interval = 0.2

    def __init__(self, places: int = 1) -> None:
        super().__init__(places)
        self._devices = visible_devices()
        self._running: dict[str, tuple[int, subprocess.Popen | _AdoptedProcess, int]] = {}

    def submit(self, job: Job) -> str:
        """See base class. The process is in a session of its own: only this one tells it to stop.

        Returns:
            str: The process's number.
        """
        place = self._free_place()
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
        self.adopt(jobs)
        found = {}
        for job in jobs:
            _, process, start = self._running[job.token]
            code = process.poll()
            if code is not None:
                del self._running[job.token]
                found[job.token] = Outcome(code, log_start=start)
                if isinstance(process, _AdoptedProcess):
                    error = f'process {job.id} of an earlier command is over'
                    found[job.token] = Outcome(None, error, again=True)
        return found

    def adopt(self, jobs: Sequence[Job]) -> None:
        """See base class. Each keeps its GPU, and ends with this command."""
        for job in jobs:
            if job.token not in self._running:
                process = _AdoptedProcess(job)
                self._running[job.token] = (self._free_place(process.device()), process, 0)

    def _free_place(self, device: str | None = None) -> int:
        """The first place that nobody has, of a GPU where one is named."""
        taken = {place for place, process, _ in self._running.values() if process.poll() is None}
        free = [place for place in range(self.places) if place not in taken]
        names = self._devices or ['']
        named = [place for place in free if names[place % len(names)] == device]
        return next(iter(named or free), self.places)

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Let processes save and end; told twice, it kills them."""
        found = [self._running.pop(job.token) for job in jobs if job.token in self._running]
        self._end([process for _, process, _ in found])

    def _end(self, processes: Sequence[subprocess.Popen | _AdoptedProcess]) -> None:
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


class _AdoptedProcess:
    """A process that a killed command has left, used as ``Popen`` is; its exit code is unknown.

    Args:
        job (Job): What it does, with its number.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def poll(self) -> int | None:
        """None while it is there, else 0."""
        return None if is_running(self._job.id, self._job.folder) else 0

    def wait(self) -> None:
        while self.poll() is None:
            time.sleep(0.1)

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            with suppress(OSError):  # it has just ended
                os.kill(int(self._job.id), number)

    def device(self) -> str | None:
        """Its GPU, as it was told."""
        try:
            entries = Path(f'/proc/{self._job.id}/environ').read_bytes().split(b'\0')
        except OSError:
            return None
        key = b'CUDA_VISIBLE_DEVICES='
        return next((os.fsdecode(e[len(key) :]) for e in entries if e.startswith(key)), None)


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
        arguments, where = _command_of(int(process))
    except (OSError, TypeError, ValueError):
        return False
    folder = Path(os.path.abspath(folder))
    paths = [Path(os.path.normpath(os.path.join(where, one))) for one in arguments]
    return any(path == folder or folder in path.parents for path in paths)


def _command_of(process: int) -> tuple[list[str], str]:
    """The arguments of a process, and its folder.

    Raises:
        OSError: It is not there.
    """
    if os.path.exists('/proc/self/cmdline'):
        command = Path(f'/proc/{process}/cmdline').read_bytes()
        where = os.readlink(f'/proc/{process}/cwd')
        return [one for one in os.fsdecode(command).split('\0') if one], where
    listed = ['ps', '-ww', '-o', 'args=', '-p', str(process)]
    done = subprocess.run(listed, capture_output=True, text=True)
    return done.stdout.split(), os.getcwd()
