"""A job on the machine that a cluster gave it: a run's command, and how that ended.

It loads nothing heavy: the command needs the memory.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from rdarts.study.executors.base import EXIT, LOG, Job
from rdarts.utils.files import write_atomically
from rdarts.utils.stop_signals import STOP_SIGNALS

PR_SET_PDEATHSIG = 1


class Work:
    """Runs a job's command, and leaves in its folder how that ended.

    It leaves nothing where the command was told to stop: it was the queue, or somebody, who ended
    the job, not the run.

    Args:
        job (Job): The job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._process: subprocess.Popen | None = None

    def __call__(self) -> int:
        """Run the command to its end.

        Returns:
            int: Its exit code, negative for a signal.
        """
        job, log_start = self.job, 0
        command = [*job.command, *(job.resume if _restarted() else ())]
        try:
            job.folder.mkdir(parents=True, exist_ok=True)
            (job.folder / EXIT).unlink(missing_ok=True)
            with open(job.folder / LOG, 'ab') as log:
                log_start = log.tell()
                self._process = subprocess.Popen(
                    command,
                    cwd=job.cwd,
                    env={**os.environ, **job.env},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    preexec_fn=_before_command(),
                )
        except OSError as error:
            where = f' {error.filename}' if error.filename else ''
            self._leave(127, f'cannot start:{where}: {error.strerror}', log_start)
            return 127
        self._wait()
        code = self._process.wait()
        if not _was_stopped(code):
            self._leave(code, '', log_start)
        return code

    def checkpoint(self) -> Any:
        """Let the command save and end: submitit calls it shortly before the time is over.

        Returns:
            DelayedSubmission: What goes on once the job has been queued again.
        """
        from submitit.core.utils import DelayedSubmission

        if self._process is not None:
            self._process.terminate()
            self._wait()
        return DelayedSubmission(Work(self.job))

    def _wait(self) -> None:
        """Wait for the command's end, and leave its exit code to be read.

        Unlike ``Popen.wait`` it holds no lock that a handler of a signal would wait for.
        """
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)

    def _leave(self, code: int, error: str, log_start: int) -> None:
        said = dict(token=self.job.token, code=code, error=error, log_start=log_start)
        write_atomically(self.job.folder / EXIT, (json.dumps(said) + '\n').encode())


def _restarted() -> bool:
    """Whether Slurm has queued this job again."""
    return os.environ.get('SLURM_RESTART_COUNT', '0') not in ('', '0')


def _was_stopped(code: int) -> bool:
    """Whether an exit code is that of a command that was told to stop."""
    return any(code in (-number, 128 + number) for number in STOP_SIGNALS)


def _before_command() -> Callable[[], None]:
    """What the command's process does first."""
    # loaded here: after a fork, with the threads of others, it might wait for ever
    libc = ctypes.CDLL(None) if sys.platform == 'linux' else None
    return partial(_end_with, os.getpid(), libc)


def _end_with(parent: int, libc: Any) -> None:
    """End when the job does: a command that outlived it would keep its folder from the next."""
    if libc is not None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    # submitit's, before the time is over: it goes to all processes of a job
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
