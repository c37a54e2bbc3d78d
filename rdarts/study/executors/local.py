"""Processes of this machine, among which its cores and GPUs are shared out."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from rdarts.errors import UserError
from rdarts.study.executors.base import LOG, Executor, Job, Outcome
from rdarts.utils.file_lock import lock_open
from rdarts.utils.machine import shared_environment
from rdarts.utils.process_identity import ProcessIdentity


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
        self._running: dict[str, tuple[int, subprocess.Popen | _AdoptedProcess]] = {}

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
                lock_open(log)  # the process has it: other machines see whether it is over
                job.log_start = log.tell()
                process = subprocess.Popen(
                    job.command,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=env,
                    start_new_session=True,
                )
        except OSError as error:
            raise UserError(f'{job.folder}: cannot start a run: {error.strerror}') from None
        self._running[job.token] = (place, process)
        job.process = ProcessIdentity.of(process.pid)
        return str(process.pid)

    def poll(self, jobs: Sequence[Job]) -> dict[str, Outcome]:
        """See base class."""
        self.adopt(jobs)
        found = {}
        for job in jobs:
            _, process = self._running[job.token]
            code = process.poll()
            if code is not None:
                del self._running[job.token]
                found[job.token] = Outcome(code, log_start=job.log_start)
                if isinstance(process, _AdoptedProcess):
                    error = f'process {job.id} of an earlier command has ended'
                    found[job.token] = Outcome(None, error, log_start=job.log_start, unseen=True)
        return found

    def adopt(self, jobs: Sequence[Job]) -> None:
        """See base class. Each keeps its GPU, and ends with this command."""
        for job in jobs:
            if job.token not in self._running:
                process = _AdoptedProcess(job.process)
                self._running[job.token] = (self._free_place(process.device()), process)

    def _free_place(self, device: str | None = None) -> int:
        """The first place that nobody has, of a GPU where one is named."""
        taken = {place for place, process in self._running.values() if process.poll() is None}
        free = [place for place in range(self.places) if place not in taken]
        names = self._devices or ['']
        named = [place for place in free if names[place % len(names)] == device]
        return next(iter(named or free), self.places)

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Let processes save and end; told twice, it kills them."""
        found = [self._running.pop(job.token) for job in jobs if job.token in self._running]
        self._end([process for _, process in found])

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
        self._end([process for _, process in self._running.values()])
        self._running.clear()

    def stop_message(self, count: int) -> str:
        """See base class."""
        return 'the same command again goes on with what was running'


class _AdoptedProcess:
    """A process that a killed command has left, used as ``Popen`` is; its exit code is unknown.

    Args:
        process (ProcessIdentity): Which.
    """

    def __init__(self, process: ProcessIdentity) -> None:
        self._process = process

    def poll(self) -> int | None:
        """None while it is there, else 0."""
        return None if self._process.is_running() else 0

    def wait(self) -> None:
        while self.poll() is None:
            time.sleep(0.1)

    def terminate(self) -> None:
        self._process.send(signal.SIGTERM)

    def kill(self) -> None:
        self._process.send(signal.SIGKILL)

    def device(self) -> str | None:
        """Its GPU, as it was told."""
        try:
            path = Path(f'/proc/{self._process.number}/environ')
            entries = path.read_bytes().split(b'\0')
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
