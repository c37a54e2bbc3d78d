"""A job on its machine: what it leaves in its folder, and what it does not outlive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from rdarts.study.executors.base import Exits, Job, Resources, parse_memory, passed_on, read_exit
from rdarts.study.executors.worker import Work


def job_of(folder, code, **keys):
    return Job('a', folder, [sys.executable, '-S', '-c', code], **keys)


def test_what_a_command_printed_and_how_it_ended_is_in_its_folder(tmp_path):
    job = job_of(tmp_path / 'a', 'import os; print(os.environ["SAID"]); raise SystemExit(3)')
    job.env['SAID'] = 'yes'
    assert read_exit(job) is None
    assert Work(job)() == 3
    first = read_exit(job)
    assert (first.code, first.error, first.again, first.log_start) == (3, '', False, 0)
    job.env['SAID'] = 'no'
    assert Work(job)() == 3
    assert read_exit(job).log_start == len('yes\n')
    assert (job.folder / 'run.log').read_text() == 'yes\nno\n'
    assert read_exit(Job('a', job.folder)) is None  # another start has said nothing


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_one_that_was_told_to_stop_has_not_ended(tmp_path, number):
    job = job_of(tmp_path, f'raise SystemExit({128 + number})')
    assert Work(job)() == 128 + number
    assert read_exit(job) is None


def test_what_cannot_be_started_says_so(tmp_path):
    job = Job('a', tmp_path, [str(tmp_path / 'gone')])
    assert Work(job)() == 127
    said = read_exit(job)
    assert said.code == 127 and said.error.endswith('gone: No such file or directory')


def test_a_log_on_a_full_disk(tmp_path):
    (tmp_path / 'run.log').symlink_to('/dev/full')
    job = job_of(tmp_path, 'print("loss 3")')
    Work(job)()
    assert read_exit(job).code != 0


def test_only_a_job_that_is_queued_again_resumes(tmp_path, monkeypatch):
    job = job_of(tmp_path, 'import sys; print(sys.argv[1:])', resume=['--resume'])
    for count in ('0', '1'):
        monkeypatch.setenv('SLURM_RESTART_COUNT', count)
        Work(job)()
    assert (tmp_path / 'run.log').read_text() == "[]\n['--resume']\n"


KILLED = """
import sys
from pathlib import Path
from rdarts.study.executors.base import Job
from rdarts.study.executors.worker import Work
code = 'import os, sys, time; print(os.getpid(), flush=True); time.sleep(60)'
Work(Job('a', Path(sys.argv[1]), [sys.executable, '-S', '-c', code]))()
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux ends a process with its parent')
def test_a_command_does_not_outlive_its_killed_worker(tmp_path):
    process = subprocess.Popen([sys.executable, '-c', KILLED, str(tmp_path)])
    log = tmp_path / 'run.log'
    deadline = time.monotonic() + 30
    while not (log.exists() and log.read_text().endswith('\n')):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child = int(log.read_text())
    assert psutil.Process(child).is_running()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_that_is_gone_is_waited_for_a_while(tmp_path):
    job, exits = Job('a', tmp_path), Exits(patience=0.2)
    assert exits.outcome(job, None) is None
    assert exits.outcome(job, 'lost') is None
    time.sleep(0.25)
    lost = exits.outcome(job, 'lost')
    assert (lost.code, lost.error, lost.again) == (None, 'lost', True)
    cancelled = exits.outcome(job, 'was cancelled', again=False, waits=False)
    assert not cancelled.again


def test_what_another_machine_is_told(monkeypatch):
    for name in list(os.environ):
        if name.startswith(('RDARTS_', 'OMP_')):
            monkeypatch.delenv(name)
    monkeypatch.setenv('RDARTS_DATA', '/data')
    monkeypatch.setenv('PYTHONPATH', '/code')
    monkeypatch.setenv('SECRET', 'x')
    env = passed_on(Resources(cpus=8))
    assert env.pop('OMP_NUM_THREADS') == '8' and 'SECRET' not in env
    assert (env['RDARTS_DATA'], env['PYTHONPATH']) == ('/data', '/code')
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert passed_on(Resources(cpus=8))['OMP_NUM_THREADS'] == '3'


def test_sizes_of_memory():
    sizes = {
        '32G': 32 << 30,
        '1.5g': 3 << 29,
        '512M': 512 << 20,
        '2TiB': 2 << 40,
        '64 GB': 64 << 30,
    }
    assert {text: parse_memory(text) for text in sizes} == sizes
    for text in ('32', 'G', '-1G', '1K', '0G', ''):
        with pytest.raises(ValueError, match='--memory must be a size of 1M or more, such as 32G'):
            parse_memory(text)
