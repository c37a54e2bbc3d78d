"""A run: a command in a folder of its own, and what the folder says of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdarts.checkpoint.directory import has_checkpoints
from rdarts.errors import UserError
from rdarts.study.executors.base import LOG, Executor, Job, Outcome, Refused, Unreached, read_exit
from rdarts.study.executors.local import LocalExecutor
from rdarts.utils.file_lock import is_locked
from rdarts.utils.files import write_atomically
from rdarts.utils.last_line import last_line
from rdarts.utils.process_identity import ProcessIdentity
from rdarts.utils.wording import named_signal

STATE = 'run.json'


@dataclass
class Run:
    """A command that works in a folder of its own, and what became of it.

    Args:
        name (str): What it is called where it is reported.
        folder (Path): Its work directory.
        command (list[str]): The command.
        settings (dict[str, Any]): What its result depends on, as JSON has it.
        resume (tuple[str, ...]): Arguments that make the command go on from its checkpoints.
            Defaults to none: it begins anew.
        redo (bool): Whether a result of other settings is made anew. Defaults to False: it is
            refused.
        read (Callable, optional): Reads its result in its log, from a byte of it on, and raises
            :class:`UserError` where there is none. Defaults to none: its exit code alone tells
            whether it has ended well.
        error (str): Why it failed.
        job (Job, optional): Its last start, while that is not known to be over.
    """

    name: str
    folder: Path
    command: list[str]
    settings: dict[str, Any]
    resume: tuple[str, ...] = ()
    redo: bool = False
    read: Callable[[Run, int], Any] | None = field(default=None, repr=False)
    error: str = ''
    job: Job | None = field(default=None, repr=False)
    _number: str = field(default='', repr=False)  # of the job, as it is written down

    def state(self, executor: Executor | None = None) -> str:
        """``done``, ``running``, ``resume`` or ``new``.

        Args:
            executor (Executor, optional): What runs the runs. Without one, a job of a cluster that
                has not said that it ended counts as running.

        Raises:
            UserError: The folder holds what is not of this run, or what another executor runs.
        """
        stored = self._stored()
        resumable = has_checkpoints(self.folder)
        if stored is None:
            if resumable:
                raise UserError(
                    f'{self.folder} holds checkpoints of a run that was not started from here: '
                    'another --work-dir'
                )
            return 'new'
        settings = stored['settings']
        keys = dict.fromkeys((*self.settings, *settings))
        differing = [key for key in keys if self.settings.get(key) != settings.get(key)]
        if differing and not self.redo:
            raise UserError(
                f'{self.folder} holds a run of other settings ({", ".join(differing)}): '
                'another --work-dir'
            )
        if stored['ended']:
            return 'new' if differing else 'done'
        if self._runs(stored, executor):
            if differing:
                how = '' if stored['executor'] == LocalExecutor.name else ' with --cancel'
                raise UserError(
                    f'{self.folder} holds a run of other settings ({", ".join(differing)}) that '
                    f'is not over: wait for it, or end it{how}'
                )
            return 'running'
        if differing:
            return 'new'
        if self._has_succeeded(stored):
            return 'done'
        return 'resume' if resumable and self.resume else 'new'

    def _stored(self) -> dict[str, Any] | None:
        """What who was here last has written down."""
        try:
            stored = json.loads((self.folder / STATE).read_text(encoding='utf-8'))
            settings, ended = dict(stored['settings']), bool(stored['ended'])
            job = Job(
                self.name,
                Path(os.path.abspath(self.folder)),
                token=str(stored.get('token', '')),
                id=str(stored.get('job', '')),
                process=ProcessIdentity.parse(stored.get('process')),
                log_start=int(stored.get('log_start', 0)),
            )
            executor = str(stored.get('executor', LocalExecutor.name))
            return dict(settings=settings, ended=ended, executor=executor, job=job)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _runs(self, stored: dict[str, Any], executor: Executor | None) -> bool:
        """Whether the job that was started last is not over."""
        if self.job is not None:
            return True
        job, owner = stored['job'], stored['executor']
        number = job.id
        if not job.token:  # its end was seen
            return False
        if owner == LocalExecutor.name:
            if not self._process_runs(job.process, executor):
                return False
        elif read_exit(job) is not None:
            return False
        elif executor is not None and executor.name != owner:
            raise UserError(
                f'{self.folder}: a job of {owner} ({job.id or job.token}) may still run in it: go '
                f'on with --executor {owner}'
            )
        elif executor is not None and executor.poll([job]):
            return False
        if executor is not None:
            self.job, self._number = job, number
        return True

    def _process_runs(self, process: ProcessIdentity | None, executor: Executor | None) -> bool:
        """Whether a process that was started for this folder is not over."""
        if process is not None and process.is_here:
            if not process.is_running():
                return False
            if executor is None or executor.name == LocalExecutor.name:
                return True
            raise UserError(f'{self.folder}: {process} still runs in it; wait, or stop it')
        log = self.folder / LOG
        locked = is_locked(log)
        if locked is False:
            return False
        if executor is None:
            return True
        who = 'a process' if process is None else process
        if locked:
            raise UserError(f'{self.folder}: {who} still runs in it; wait, or stop it there')
        raise UserError(f'{self.folder}: {who} may still run in it: once it is over, remove {log}')

    def _has_succeeded(self, stored: dict[str, Any]) -> bool:
        """Whether a job has ended well while nobody waited for it."""
        job = stored['job']
        if stored['executor'] == LocalExecutor.name:
            return job.process is not None and self._has_result(job.log_start)
        said = read_exit(job)
        return said is not None and said.code == 0

    def _has_result(self, log_start: int) -> bool:
        """Whether a start of it that nobody saw end has left its result."""
        if self.read is None:
            return False
        try:
            self.read(self, log_start)
        except UserError:
            return False
        return True

    def start(self, executor: Executor) -> None:
        """Start it, or go on with it.

        Args:
            executor (Executor): What runs it.

        Raises:
            UserError: The folder cannot be written, or the executor does not take it.
            Unreached: The executor does not take it now.
        """
        resumes = self.state(executor) == 'resume'
        self.error = ''
        command = [*self.command, *(self.resume if resumes else ())]
        job = Job(
            self.name,
            Path(os.path.abspath(self.folder)),
            command,
            [] if resumes else list(self.resume),
            executor.environment(),
        )
        # before it is started: whoever comes next asks for it by its token
        self._write_job(job, executor)
        try:
            job.id = executor.submit(job)
        except (Refused, Unreached):
            self.mark(ended=False)
            raise
        try:
            self._write_job(job, executor)
        except UserError as error:  # nobody would find it
            try:
                executor.cancel([job])
            except UserError as reason:
                raise UserError(
                    f'{error}; its job {job.id or job.token} is not cancelled: {reason}'
                ) from None
            raise
        self.job = job

    def keep_number(self, executor: Executor) -> None:
        """Write down the number of its job where that came to be known after its start.

        Args:
            executor (Executor): What runs it.
        """
        if self.job is not None and self.job.id != self._number:
            with suppress(UserError):  # the job is found by its token, too
                self._write_job(self.job, executor)

    def _write_job(self, job: Job, executor: Executor) -> None:
        self._write(dict(ended=False, executor=executor.name, **job.as_data()))
        self._number = job.id

    def mark(self, ended: bool) -> None:
        """Write down whether it has ended.

        Raises:
            UserError: The folder cannot be written.
        """
        self._write(dict(ended=ended))

    def _write(self, data: dict[str, Any]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            data = dict(settings=self.settings, **data)
            write_atomically(self.folder / STATE, (json.dumps(data) + '\n').encode())
        except OSError as error:
            raise UserError(f'cannot write into {self.folder}: {error.strerror}') from None

    def end(self, outcome: Outcome) -> None:
        """Write down how its job ended; :attr:`error` says why it failed.

        Args:
            outcome (Outcome): How.
        """
        self.job = None
        well = outcome.code == 0 or (outcome.unseen and self._has_result(outcome.log_start))
        if not well:
            self.error = outcome.error or self._last_error(outcome)
        self.mark(ended=well)

    def _last_error(self, outcome: Outcome) -> str:
        """Why this start ended: its last error, else its exit code and last line."""
        try:
            with open(self.folder / LOG, 'rb') as log:
                log.seek(outcome.log_start)
                text = log.read().decode(errors='replace')
        except OSError as error:
            text = f'(no log: {error.strerror})'
        code = outcome.code
        errors = [line for line in text.splitlines() if line.startswith('error: ')]
        if code > 0 and errors:
            return errors[-1].removeprefix('error: ')
        how = named_signal(-code) if code < 0 else f'exit code {code}'
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
            how = f'{how} (killed, as the system does when memory runs out: see dmesg)'
        return f'{how} after: {last_line(text, "no output")}'
