"""Runs as processes, several at a time: what has ended is not repeated, what was killed goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rdarts.checkpoint.directory import has_checkpoints
from rdarts.errors import Interrupted, UserError
from rdarts.utils.files import write_atomically
from rdarts.utils.machine import shared_environment
from rdarts.utils.stop_signals import STOP_SIGNALS, signal_name

STATE = 'run.json'
LOG = 'run.log'


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
    """

    name: str
    folder: Path
    command: list[str]
    settings: dict[str, Any]
    resume: tuple[str, ...] = ()
    redo: bool = False
    error: str = ''
    process: subprocess.Popen | None = field(default=None, repr=False)
    _log_start: int = field(default=0, repr=False)

    def state(self) -> str:
        """``done``, ``resume`` or ``new``.

        Raises:
            UserError: The folder holds what is not of this run, or a run that is not over.
        """
        settings, ended, process = self._stored()
        resumable = has_checkpoints(self.folder)
        if settings is None:
            if resumable:
                raise UserError(
                    f'{self.folder} holds checkpoints of a run that was not started from here: '
                    'another --work-dir'
                )
            return 'new'
        keys = dict.fromkeys((*self.settings, *settings))
        differing = [key for key in keys if self.settings.get(key) != settings.get(key)]
        if differing:
            if self.redo:
                return 'new'
            raise UserError(
                f'{self.folder} holds a run of other settings ({", ".join(differing)}): '
                'another --work-dir'
            )
        if ended:
            return 'done'
        if self.process is None and _is_running(process, self.folder):
            raise UserError(f'{self.folder}: process {process} still runs in it; wait, or stop it')
        return 'resume' if resumable and self.resume else 'new'

    def _stored(self) -> tuple[dict[str, Any] | None, bool, Any]:
        """Settings, whether it has ended, and the process of who was here last."""
        try:
            stored = json.loads((self.folder / STATE).read_text(encoding='utf-8'))
            return dict(stored['settings']), bool(stored['ended']), stored.get('process')
        except (OSError, ValueError, TypeError, KeyError):
            return None, False, None

    def start(self, env: dict[str, str]) -> None:
        """Start its process, in a session of its own: only its starter tells it to stop.

        Args:
            env (dict[str, str]): The process's environment.

        Raises:
            UserError: The folder cannot be written.
        """
        command = [*self.command, *(self.resume if self.state() == 'resume' else ())]
        self.error = ''
        self.mark(ended=False)
        try:
            with open(self.folder / LOG, 'ab') as log:
                self._log_start = log.tell()
                self.process = subprocess.Popen(
                    command, stdout=log, stderr=subprocess.STDOUT, env=env, start_new_session=True
                )
        except OSError as error:
            raise UserError(f'{self.folder}: cannot start a run: {error.strerror}') from None
        self.mark(ended=False)  # with its process

    def mark(self, ended: bool) -> None:
        """Write down whether it has ended.

        Raises:
            UserError: The folder cannot be written.
        """
        data = dict(settings=self.settings, ended=ended)
        if self.process is not None and not ended:
            data['process'] = self.process.pid
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / STATE, (json.dumps(data) + '\n').encode())
        except OSError as error:
            raise UserError(f'cannot write into {self.folder}: {error.strerror}') from None

    def end(self) -> None:
        """Write down how its process ended; :attr:`error` says why it failed."""
        if self.process.returncode == 0:
            self.mark(ended=True)
        else:
            self.error = self._last_error()

    def _last_error(self) -> str:
        """Why this start ended: its last error, else its exit code and last line."""
        with open(self.folder / LOG, 'rb') as log:
            log.seek(self._log_start)
            text = log.read().decode(errors='replace')
        lines, code = text.strip().splitlines() or ['no output'], self.process.returncode
        errors = [line for line in lines if line.startswith('error: ')]
        if code > 0 and errors:
            return errors[-1].removeprefix('error: ')
        how = f'signal {signal.Signals(-code).name}' if code < 0 else f'exit code {code}'
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
            how = f'{how} (killed, as the system does when memory runs out: see dmesg)'
        return f'{how} after: {lines[-1]}'


def _is_running(process: Any, folder: Path) -> bool:
    """Whether a process that was started for a folder is still there."""
    if not isinstance(process, int):
        return False
    try:
        command = Path(f'/proc/{process}/cmdline').read_bytes()
        return os.fsencode(folder) in command
    except OSError:
        return False  # not there, or no Linux


def run_all(runs: Sequence[Run], jobs: int) -> None:
    """Run what is not done; a run that fails keeps its error, and the rest goes on.

    Each has an equal share of the cores that may be used, unless ``OMP_NUM_THREADS`` is set, and of
    several GPUs one, in turn.

    Args:
        runs (Sequence[Run]): The runs.
        jobs (int): How many at a time.

    Raises:
        UserError: A folder holds what is not of its run.
        Interrupted: By Ctrl-C, SIGTERM or a closed terminal; the running ones were told to end.
    """
    waiting = [run for run in runs if run.state() != 'done']
    running: dict[int, Run] = {}  # of each of the places
    devices = _visible_devices()
    before = _on_signals(_interrupt)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                place = next(i for i in range(jobs) if i not in running)
                running[place] = run = waiting.pop(0)
                try:
                    print(f'{run.state():<7} {run.name}', flush=True)
                    run.start(_environment(jobs, devices, place))
                except UserError as error:
                    _fail(running.pop(place), str(error))
            time.sleep(0.2)
            for place, run in list(running.items()):
                if run.process.poll() is not None:
                    try:
                        run.end()
                    except UserError as error:
                        run.error = str(error)
                    del running[place]
                    if run.error:
                        _fail(run, run.error)
                    else:
                        print(f'ended   {run.name}', flush=True)
    finally:
        started = [run.process for run in running.values() if run.process is not None]
        for process in started:
            process.terminate()
        try:
            for process in started:
                process.wait()
        except BaseException:  # told twice
            for process in started:
                process.kill()
                process.wait()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _fail(run: Run, error: str) -> None:
    run.error = error
    print(f'failed  {run.name}: {error}', flush=True)


def _on_signals(handler: Any) -> dict[int, Any]:
    """Set a handler of what ends a process, but where that is ignored; gives what was there."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    return before


def _interrupt(number: int, frame: Any) -> None:
    raise Interrupted(
        f'stopped by {signal_name(number)}: the same command again goes on with what was running',
        number,
    )


def _visible_devices() -> list[str]:
    """The GPUs, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = os.environ.get('CUDA_VISIBLE_DEVICES')
    if named is not None:
        return [name for name in named.split(',') if name]
    return [str(index) for index in range(torch.cuda.device_count())]


def _environment(jobs: int, devices: Sequence[str], place: int) -> dict[str, str]:
    """Of the run at one of the places."""
    env = shared_environment(jobs)
    if devices:
        env['CUDA_VISIBLE_DEVICES'] = devices[place % len(devices)]
    return env
