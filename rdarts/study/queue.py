"""Runs through an executor: what has ended is not repeated, what was killed goes on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdarts.checkpoint.directory import has_checkpoints
from rdarts.errors import Interrupted, UserError
from rdarts.study.executors.base import LOG, Executor, Job, Outcome, Unreached, read_exit
from rdarts.study.executors.local import LocalExecutor, is_running
from rdarts.utils.files import write_atomically
from rdarts.utils.last_line import last_line
from rdarts.utils.stop_signals import catch_signals, signal_name
from rdarts.utils.wording import named_signal

STATE = 'run.json'
RETRIES = 3


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
        error (str): Why it failed.
        job (Job, optional): Its last start, while that is not known to be over.
    """

    name: str
    folder: Path
    command: list[str]
    settings: dict[str, Any]
    resume: tuple[str, ...] = ()
    redo: bool = False
    error: str = ''
    job: Job | None = field(default=None, repr=False)

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
            return dict(
                settings=dict(stored['settings']),
                ended=bool(stored['ended']),
                executor=str(stored.get('executor', LocalExecutor.name)),
                token=str(stored.get('token', '')),
                job=str(stored.get('job', '')),
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _runs(self, stored: dict[str, Any], executor: Executor | None) -> bool:
        """Whether the job that was started last is not over."""
        if self.job is not None:
            return True
        job = self._job(stored['token'], stored['job'])
        if stored['executor'] == LocalExecutor.name:
            if not is_running(stored['job'], self.folder):
                return False
            if executor is not None and executor.name != LocalExecutor.name:
                raise UserError(
                    f'{self.folder}: process {stored["job"]} of this machine still runs in it; '
                    'wait, or stop it'
                )
            self.job = None if executor is None else job
            return True
        if read_exit(job) is not None:
            return False
        if executor is None:
            return True
        if executor.name != stored['executor']:
            raise UserError(
                f'{self.folder}: a job of {stored["executor"]} ({stored["job"]}) may still run in '
                f'it: go on with --executor {stored["executor"]}'
            )
        if executor.poll([job]):
            return False
        self.job = job
        return True

    def _has_succeeded(self, stored: dict[str, Any]) -> bool:
        """Whether a job has ended well while nobody waited for it."""
        said = read_exit(self._job(stored['token'], stored['job']))
        return said is not None and said.code == 0

    def _job(self, token: str, number: str) -> Job:
        return Job(self.name, Path(os.path.abspath(self.folder)), token=token, id=number)

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
        self._write(dict(ended=False, executor=executor.name, token=job.token))
        try:
            job.id = executor.submit(job)
        except Unreached:
            self.mark(ended=False)
            raise
        self.job = job
        self._write(dict(ended=False, executor=executor.name, token=job.token, job=job.id))

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
        if outcome.code != 0:
            self.error = outcome.error or self._last_error(outcome)
        self.mark(ended=outcome.code == 0)

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


def run_all(
    runs: Sequence[Run],
    executor: Executor,
    retries: int = RETRIES,
    follow: Callable[[Run], Sequence[Run]] | None = None,
) -> None:
    """Run what is not done; a run that fails keeps its error, and the rest goes on.

    Jobs that an earlier command has left running are waited for. What a machine or a queue has
    ended, not the run itself, goes on from its checkpoint, wherever the executor takes it. While a
    cluster does not answer, what is to be started waits.

    Args:
        runs (Sequence[Run]): The runs.
        executor (Executor): What runs them.
        retries (int): How often a run is started again that a machine or a queue has ended.
            Defaults to 3.
        follow (Callable, optional): Gives the runs that follow one which is done. They are run with
            the others, not after them. Defaults to none.

    Raises:
        UserError: A folder holds what is not of its run.
        Interrupted: By Ctrl-C, SIGTERM or a closed terminal; the executor says what becomes of
            the running ones.
    """
    follow = follow or (lambda run: ())
    states, unasked = [], list(runs)
    while unasked:
        run = unasked.pop(0)
        executor.check(run.folder)
        states.append((run, run.state(executor)))
        if states[-1][1] == 'done':
            unasked += follow(run)
    # first those that run: they have their places
    waiting = [run for run, state in states if state == 'running']
    waiting += [run for run, state in states if state in ('resume', 'new')]
    adopted = [run.job for run, state in states if state == 'running']
    running: list[Run] = []
    lost: dict[int, int] = {}
    held: Run | None = None  # what the executor did not take for now

    def interrupt(number: int, frame: Any) -> None:
        raise Interrupted(
            f'stopped by {signal_name(number)}: {executor.farewell(len(running))}', number
        )

    before = catch_signals(interrupt)
    try:
        executor.adopt(adopted)
        while waiting or running:
            while waiting and (executor.places is None or len(running) < executor.places):
                run = waiting.pop(0)
                try:
                    state = run.state(executor)
                    if state == 'done':
                        waiting += follow(run)
                        continue
                    if run is not held:
                        print(f'{state:<7} {run.name}', flush=True)
                    running.append(run)
                    if state != 'running':
                        run.start(executor)
                    held = None
                except Unreached as error:
                    running = [other for other in running if other is not run]
                    waiting.insert(0, run)
                    if run is not held:
                        print(f'waits   {run.name}: {error}', flush=True)
                    held = run
                    break
                except UserError as error:
                    running = [other for other in running if other is not run]
                    _fail(run, str(error))
            time.sleep(executor.interval)
            outcomes = executor.poll([run.job for run in running])
            for run in [run for run in running if run.job.token in outcomes]:
                outcome = outcomes[run.job.token]
                running.remove(run)
                try:
                    run.end(outcome)
                except UserError as error:
                    run.error = str(error)
                if run.error and outcome.again and lost.get(id(run), 0) < retries:
                    lost[id(run)] = lost.get(id(run), 0) + 1
                    print(f'lost    {run.name}: {run.error}', flush=True)
                    waiting.insert(0, run)
                elif run.error:
                    _fail(run, run.error)
                else:
                    print(f'ended   {run.name}', flush=True)
                    waiting += follow(run)
    finally:
        try:
            executor.leave()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def cancel_all(runs: Sequence[Run], executor: Executor) -> None:
    """End the jobs that an earlier command has left running.

    Args:
        runs (Sequence[Run]): The runs.
        executor (Executor): What runs them.

    Raises:
        UserError: A folder holds what is not of its run.
    """
    found = [run for run in runs if run.state(executor) == 'running']
    executor.cancel([run.job for run in found])
    for run in found:
        print(f'cancelled {run.name}', flush=True)
    print(f'{len(found)} of {len(runs)} runs had a job', flush=True)


def _fail(run: Run, error: str) -> None:
    run.error = error
    print(f'failed  {run.name}: {error}', flush=True)
