"""Slurm, through submitit: a job is queued by ``sbatch``, and asked for by its name."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rdarts.errors import UserError
from rdarts.study.executors.base import (
    Executor,
    Exits,
    Job,
    Outcome,
    Refused,
    Resources,
    Unreached,
    install_hint,
    passed_on,
    read_exit,
)
from rdarts.study.executors.worker import Work
from rdarts.utils.last_line import last_line
from rdarts.utils.process_identity import ProcessIdentity

FILES = 'slurm'
TAGS = ('%j', '%t', '%A', '%a')  # submitit writes numbers into paths in their place
DOWN = 'Unable to contact slurm controller'
NO_ANSWER = ('Socket timed out', 'Zero Bytes were transmitted', 'Message receive failure')
TIMEOUTS = 1000
"""How often a run goes on that its time limit ends: each time from a newer checkpoint."""
OVER = {
    'BOOT_FAIL', 'CANCELLED', 'COMPLETED', 'DEADLINE', 'FAILED', 'NODE_FAIL', 'OUT_OF_MEMORY',
    'PREEMPTED', 'REVOKED', 'TIMEOUT',
}  # fmt: skip
FINAL = {
    'CANCELLED': 'was cancelled',
    'DEADLINE': 'missed its deadline',
    'OUT_OF_MEMORY': 'needed more than its memory (--memory)',
    'TIMEOUT': 'needed more than its time (--hours)',
}
"""States of jobs that would end in the same way again, or that somebody wants to end."""


class SlurmExecutor(Executor):
    """Queues jobs in Slurm.

    A job that a node has lost, or that a higher one has preempted, is queued again by Slurm itself
    where it is set up so, else by whoever waits for it; one whose time is over saves and is queued
    again.

    Args:
        resources (Resources): What a job is given.
        partition (str, optional): Where it is queued. Defaults to Slurm's default.
        hours (float): Its time limit. Defaults to 24.
        places (int, optional): How many jobs are queued at a time. Defaults to all.
        cluster (str): ``'slurm'``, or ``'local'`` for submitit's processes of this machine, which
            stand in for Slurm in tests. Defaults to ``'slurm'``.

    Raises:
        UserError: submitit is missing, Slurm cannot be reached, or has no such partition.
    """

    name = 'slurm'

    def __init__(
        self,
        resources: Resources,
        partition: str | None = None,
        hours: float = 24.0,
        places: int | None = None,
        cluster: str = 'slurm',
    ) -> None:
        super().__init__(places)
        self._resources = resources
        try:
            import submitit
        except ImportError:
            raise install_hint('slurm', 'submitit') from None
        self._submitit, self._cluster = submitit, cluster
        minutes = max(1, round(hours * 60))
        self._options: dict[str, Any] = dict(
            timeout_min=minutes, cpus_per_task=resources.cpus, gpus_per_node=resources.gpus
        )
        self._seen: tuple[float, dict[str, tuple[str, str]] | None] = (0.0, None)
        self._remembered: dict[str, tuple[str, str] | None] = {}
        self._is_down = False
        if cluster == 'local':
            self._local: dict[str, Any] = {}
            self._exits = Exits(patience=0.5)
            self.interval = 0.5
            return
        self._exits = Exits()
        if not resources.gpus:
            del self._options['gpus_per_node']
        more: dict[str, Any] = dict(requeue=True)
        if resources.memory is not None:
            more['mem'] = f'{resources.memory >> 20}M'
        if partition is not None:
            self._options['slurm_partition'] = partition
        self._options['slurm_additional_parameters'] = more
        # since 22.05 srun does not take over what sbatch was told
        self._options['slurm_srun_args'] = [f'--cpus-per-task={resources.cpus}']
        if shutil.which('sbatch') is None:
            raise UserError(
                '--executor slurm: there is no sbatch here: start this command on a machine that '
                'can submit jobs'
            )
        known = _ask('sinfo', '--noheader', '--format=%R').split()
        if partition is not None and partition not in known:
            raise UserError(
                f'--slurm-partition {partition}: Slurm has no such partition; it has '
                f'{", ".join(sorted(set(known)))}'
            )

    def check(self, folder: Path) -> None:
        """See base class."""
        path = os.path.abspath(folder)
        for tag in TAGS:
            if tag in path:
                raise UserError(
                    f'{path} has {tag} in it, in whose place submitit writes a number: another '
                    '--work-dir'
                )

    def submit(self, job: Job) -> str:
        """See base class.

        Returns:
            str: The number of the job; nothing where Slurm may have taken it, but has not said so.
        """
        folder = job.folder / FILES
        if self._is_down:
            try:  # submitit would write its files anew each time
                _ask('squeue', '--me', '--noheader')
            except UserError as error:
                raise Unreached(str(error)) from None
        try:
            executor = self._submitit.AutoExecutor(
                folder, cluster=self._cluster, slurm_max_num_timeout=TIMEOUTS
            )
            executor.update_parameters(**self._options, name=job.token)
            submitted = executor.submit(Work(job))
        except OSError as error:
            raise UserError(f'{job.folder}: cannot start a run: {error.strerror}') from None
        except (self._submitit.core.utils.FailedJobError, RuntimeError, ValueError) as error:
            reason = _reason(error)
            self._is_down = DOWN.lower() in reason.lower()
            if self._is_down:
                raise Unreached(f'Slurm does not answer: {reason}') from None
            if any(text.lower() in reason.lower() for text in NO_ANSWER):
                self._seen = (0.0, None)
                return ''
            # of sbatch; what submitit says may come after it
            refused = isinstance(error, self._submitit.core.utils.FailedJobError)
            kind = Refused if refused else UserError
            raise kind(f'Slurm refuses the job: {reason}') from None
        self._is_down = False
        if self._cluster == 'local':
            self._local[job.token] = submitted
            job.process = ProcessIdentity.of(int(submitted.job_id))
        self._seen = (0.0, None)
        return str(submitted.job_id)

    def leave(self) -> None:
        """See base class: they go on."""

    def environment(self) -> dict[str, str]:
        """See base class."""
        return passed_on(self._resources)

    def poll(self, jobs: Sequence[Job]) -> dict[str, Outcome]:
        """See base class."""
        states = self._states(jobs)
        if states is None:  # the controller does not answer: the jobs go on without it
            return {}
        found = {}
        for job in jobs:
            number, state = states.get(job.token, (job.id, 'GONE'))
            job.id = job.id or number  # where sbatch had no answer
            gone = None
            if state in OVER or state == 'GONE':
                words = '' if state in FINAL else self._last_words(job)
                gone = f'job {number or job.token} of Slurm {_ending(state)}{words}'
            waits = state in ('COMPLETED', 'GONE')
            outcome = self._exits.outcome(job, gone, state not in FINAL, waits)
            if outcome is not None:
                found[job.token] = outcome
        return found

    def cancel(self, jobs: Sequence[Job]) -> None:
        """See base class: Slurm lets the commands save for as long as it is set up to.

        Raises:
            UserError: Slurm does not cancel some of them; it has been asked for all.
        """
        if self._cluster == 'local':
            for job in jobs:
                if job.process is not None and job.process.is_running():
                    _kill(job.process.number)
        elif jobs:
            states = self._states(jobs) or {}
            failed: list[str] = []
            for job in jobs:
                number = states.get(job.token, (job.id, ''))[0]
                try:  # by name where Slurm has not said yet that it has taken it
                    _ask('scancel', number or f'--name={job.token}')
                except UserError as error:
                    failed.append(f'{job.name}: {error}')
            if failed:
                count = f'{len(failed)} of {len(jobs)} jobs are not cancelled: '
                raise UserError((count if len(jobs) > 1 else '') + '; '.join(failed))

    def _states(self, jobs: Sequence[Job]) -> dict[str, tuple[str, str]] | None:
        """Number and state of jobs by their tokens; None where nobody answers."""
        if self._cluster == 'local':
            for submitted in self._local.values():
                submitted.done()  # else what has ended stays as a process
            running = [job for job in jobs if job.process is not None and job.process.is_running()]
            return {job.token: (job.id, 'RUNNING') for job in running if read_exit(job) is None}
        since, states = self._seen
        if states is None or time.monotonic() - since > self.interval / 2:
            try:
                lines = _ask('squeue', '--me', '--noheader', '--states=all', '--format=%j|%i|%T')
            except UserError:
                return None
            states = _parse(lines)
            self._seen, self._remembered = (time.monotonic(), states), {}
        known = {**self._remembered, **states}
        missing = [job for job in jobs if job.token not in known]
        if missing:  # Slurm forgets them after some minutes
            found = _remembered(missing)
            self._remembered.update((job.token, found.get(job.token)) for job in missing)
        told = {token: state for token, state in self._remembered.items() if state is not None}
        return {**told, **states}

    def _last_words(self, job: Job) -> str:
        """What a job has printed last that ended before its command did."""
        try:
            paths = (job.folder / FILES).glob(f'{job.id}_*_log.err')
            text = '\n'.join(path.read_text(errors='replace') for path in paths)
        except OSError:
            return ''
        said = last_line(text)
        return f': {said}' if said else ''


def _kill(controller: int) -> None:
    """End one of submitit's processes of this machine, and the job below it."""
    with suppress(OSError):  # it has just ended
        below = Path(f'/proc/{controller}/task/{controller}/children').read_text().split()
        for process in (controller, *map(int, below)):
            os.kill(process, signal.SIGKILL)


def _parse(lines: str) -> dict[str, tuple[str, str]]:
    """Number and state by name; of a name that is there twice, the one that is not over."""
    found: dict[str, tuple[str, str]] = {}
    for line in lines.splitlines():
        name, _, rest = line.partition('|')
        number, _, state = rest.partition('|')
        state = state.split(' ')[0].rstrip('+')  # 'CANCELLED by 0'
        if name not in found or state not in OVER:
            found[name] = (number, state)
    return found


def _remembered(jobs: Sequence[Job]) -> dict[str, tuple[str, str]]:
    """What Slurm's accounting says, where there is one."""
    names = ','.join(job.token for job in jobs)
    format_ = '--format=JobName%30,JobID,State'
    try:
        lines = _ask(
            'sacct', '-X', '-n', '-P', f'--name={names}', '--starttime=now-30days', format_
        )
    except UserError:
        return {}
    return _parse(lines)


def _ending(state: str) -> str:
    if state == 'GONE':
        return 'is there no longer'
    return FINAL.get(state, f'ended as {state}')


def _reason(error: Exception) -> str:
    """The line of an error that says what is wrong, among those of submitit."""
    lines = (line.strip() for line in str(error).splitlines())
    named = [line for line in lines if line.startswith(('sbatch: error:', 'sbatch: fatal:'))]
    said = named[-1] if named else last_line(error, type(error).__name__)
    return said.removeprefix('sbatch: error: ')


def _ask(*command: str) -> str:
    """What a command of Slurm prints.

    Raises:
        UserError: It fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, 'strerror', None) or 'no answer within a minute'
        raise UserError(f'Slurm cannot be asked: {command[0]}: {reason}') from None
    if done.returncode:
        said = last_line(done.stderr or done.stdout, f'exit {done.returncode}')
        raise UserError(f'Slurm cannot be asked: {said}')
    return done.stdout
