"""What every executor is: it takes jobs, says which of them are over, and ends them."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from rdarts.errors import UserError
from rdarts.utils.machine import THREADS, WAITING, wanted_threads
from rdarts.utils.process_identity import ProcessIdentity

LOG = 'run.log'
EXIT = 'run_exit.json'
UNITS = dict(K=1 << 10, M=1 << 20, G=1 << 30, T=1 << 40)


@dataclass(frozen=True)
class Resources:
    """What a run is given on a cluster.

    Args:
        gpus (int): Of one machine. Defaults to 0.
        cpus (int): Cores of one machine. Defaults to 1.
        memory (int, optional): Bytes. Defaults to what the cluster gives.
    """

    gpus: int = 0
    cpus: int = 1
    memory: int | None = None


def parse_memory(text: str) -> int:
    """Bytes of a size such as ``32G``, of powers of 1024.

    Raises:
        UserError: It is none.
    """
    match = re.fullmatch(r'(\d+(?:\.\d+)?)\s*([KMGT])i?B?', text.strip(), re.IGNORECASE)
    size = int(float(match[1]) * UNITS[match[2].upper()]) if match else 0
    if size < UNITS['M']:
        raise UserError(f'--memory must be a size of 1M or more, such as 32G, but is {text!r}')
    return size


@dataclass
class Job:
    """One start of a run.

    Args:
        name (str): What the run is called.
        folder (Path): Its work directory, which every machine sees under the same path.
        command (list[str]): The command.
        resume (list[str]): What makes it go on from its checkpoints, should the job be started
            again by the cluster; empty where the command has it. Defaults to none.
        env (dict[str, str]): What its environment has beside what the machine's has.
        token (str): Names this start among all others.
        id (str): The executor's own name for it. Defaults to none yet.
        cwd (str): Where the command is started. Defaults to where this process is.
        process (ProcessIdentity, optional): Of a process of this machine, which. Defaults to none.
        log_start (int): Where in the log what such a process prints begins, in bytes. Defaults
            to 0.
    """

    name: str
    folder: Path
    command: list[str] = field(default_factory=list)
    resume: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: f'rdarts-{uuid.uuid4().hex[:12]}')
    id: str = ''
    cwd: str = field(default_factory=os.getcwd)
    process: ProcessIdentity | None = None
    log_start: int = 0

    def as_data(self) -> dict[str, Any]:
        """What another command needs to find it, as JSON has it."""
        data: dict[str, Any] = dict(token=self.token, job=self.id)
        if self.process is not None:
            data.update(process=self.process.as_data(), log_start=self.log_start)
        return data


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Args:
        code (int, optional): The exit code of its command, negative for a signal. None where
            the job ended before its command did.
        error (str): Why it failed, where its log does not say so. Defaults to nothing.
        again (bool): Whether the machine or the queue ended it, so that it is to be started
            again. Defaults to False.
        log_start (int): Where in the log what it printed begins, in bytes. Defaults to 0.
        unseen (bool): Whether it is over, and nobody has seen whether well. Defaults to False.
    """

    code: int | None
    error: str = ''
    again: bool = False
    log_start: int = 0
    unseen: bool = False


class Unreached(UserError):
    """A cluster does not answer for now: the job was not started, and can be later."""


class Refused(UserError):
    """An executor has not taken a job for certain: nothing of it is there."""


class Executor(ABC):
    """Takes jobs and says what became of them.

    Args:
        places (int, optional): How many jobs it has at a time. None: as many as there are.
    """

    name: ClassVar[str]
    interval: ClassVar[float] = 2.0
    """Seconds between two questions."""

    def __init__(self, places: int | None) -> None:
        self.places = places

    def check(self, folder: Path) -> None:
        """See whether a job can work in a folder.

        Args:
            folder (Path): Its work directory.

        Raises:
            UserError: It cannot.
        """
        return

    @abstractmethod
    def submit(self, job: Job) -> str:
        """Start a job.

        Returns:
            str: The executor's own name for it.

        Raises:
            UserError: It cannot be started.
            Refused: It cannot be started, and nothing of it is there.
            Unreached: It cannot be started now.
        """

    @abstractmethod
    def poll(self, jobs: Sequence[Job]) -> dict[str, Outcome]:
        """The jobs that are over, by their tokens; one that was never started is over, too.

        A job whose name for the executor was not known is given it here.
        """

    def adopt(self, jobs: Sequence[Job]) -> None:  # noqa: B027
        """Take over jobs that an earlier command has left: here they need nothing."""

    @abstractmethod
    def cancel(self, jobs: Sequence[Job]) -> None:
        """End jobs."""

    def environment(self) -> dict[str, str]:
        """What the environment of a job's command has beside that of its machine: here nothing."""
        return {}

    @abstractmethod
    def leave(self) -> None:
        """Leave the jobs that are not over, as the command that waits for them ends."""

    def stop_message(self, count: int) -> str:
        """What becomes of the jobs that are not over when the command is stopped.

        Args:
            count (int): How many there are.
        """
        if not count:
            return 'the same command again goes on'
        jobs, them = ('1 job goes', 'it') if count == 1 else (f'{count} jobs go', 'them')
        return (
            f'{jobs} on in {self.name.capitalize()}: the same command again waits for {them}, and '
            f'with --cancel it ends {them}'
        )


class Exits:
    """What jobs left in their folders when their commands ended.

    Args:
        patience (float): Seconds after which a job that is gone and has left nothing counts as
            lost: a shared file system shows late what another machine wrote. Defaults to 60.
    """

    def __init__(self, patience: float = 60.0) -> None:
        self.patience = patience
        self._gone: dict[str, float] = {}

    def outcome(
        self, job: Job, gone: str | None, again: bool = True, waits: bool = True
    ) -> Outcome | None:
        """How a job ended; None where it has not, as far as can be seen.

        Args:
            job (Job): The job.
            gone (str, optional): Why the cluster has it no longer. None: it has it.
            again (bool): Whether that is no fault of the run. Defaults to True.
            waits (bool): Whether it may have ended well, so that it is waited for what it left.
                Defaults to True.
        """
        if gone is None:
            self._gone.pop(job.token, None)
            return None
        said = read_exit(job)
        if said is not None:
            return said
        since = self._gone.setdefault(job.token, time.monotonic())
        if waits and time.monotonic() - since < self.patience:
            return None
        del self._gone[job.token]
        return Outcome(None, gone, again)


def read_exit(job: Job) -> Outcome | None:
    """How a job's command ended, as it has left it in its folder; None where it has not."""
    try:
        os.listdir(job.folder)  # on NFS this shows what another machine has written
        said = json.loads((job.folder / EXIT).read_text(encoding='utf-8'))
        if said['token'] != job.token:
            return None
        return Outcome(int(said['code']), str(said['error']), log_start=int(said['log_start']))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def passed_on(resources: Resources) -> dict[str, str]:
    """What a command on another machine needs of this one's environment, and its threads.

    Args:
        resources (Resources): What it is given there.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if name.startswith('RDARTS_') or name == 'PYTHONPATH'
    }
    waiting = {} if 'OMP_WAIT_POLICY' in os.environ else WAITING
    return {**waiting, **env, THREADS: str(wanted_threads() or resources.cpus)}


def install_hint(executor: str, package: str) -> UserError:
    """The error of an executor whose package is missing."""
    return UserError(f"--executor {executor} needs {package}: 'pip install {package}'")
