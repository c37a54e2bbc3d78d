"""A run: what its folder says of it when the command that started it is gone."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from cluster_runs import coded_run

from rdarts.errors import UserError
from rdarts.study.executors.local import LocalExecutor
from rdarts.study.queue import run_all
from rdarts.study.tool_runs import read_result
from rdarts.utils.file_lock import is_locked
from rdarts.utils.process_identity import ProcessIdentity

COUNT = 'import sys; open(sys.argv[1] + "/starts", "a").write(" ".join(sys.argv[2:]) + ";")'


class OtherExecutor(LocalExecutor):
    name = 'other'


@pytest.mark.parametrize('named', ['folder', 'nothing'])
def test_another_process_of_its_number_does_not_run_in_it(tmp_path, named):
    """Numbers are given again, and one that names the folder may be somebody's editor."""
    run, executor = coded_run(tmp_path / 'a', COUNT), LocalExecutor()
    run.start(executor)
    executor._running[run.job.token][1].wait(30)
    path = tmp_path / 'a' / 'run.json'
    stored = json.loads(path.read_text())
    args = [str(tmp_path / 'a')] if named == 'folder' else []
    other = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)', *args])
    try:
        stored['process']['number'] = other.pid
        path.write_text(json.dumps(stored))
        assert coded_run(tmp_path / 'a', COUNT).state(LocalExecutor()) == 'new'
        stored['process'] = ProcessIdentity.of(other.pid).as_data()
        path.write_text(json.dumps(stored))
        assert coded_run(tmp_path / 'a', COUNT).state(LocalExecutor()) == 'running'
    finally:
        other.kill()
        other.wait()
    assert coded_run(tmp_path / 'a', COUNT).state(LocalExecutor()) == 'new'


@pytest.mark.parametrize(('key', 'name'), [('host', 'elsewhere'), ('boot', socket.gethostname())])
def test_what_another_machine_runs_is_left_alone(tmp_path, key, name):
    """On a shared file system: its number says nothing here, but it keeps its log locked."""
    run, executor = coded_run(tmp_path / 'a', 'import time; time.sleep(60)'), LocalExecutor()
    run.start(executor)
    path, number = tmp_path / 'a' / 'run.json', run.job.id
    stored = json.loads(path.read_text())
    stored['process'][key] = 'elsewhere'
    path.write_text(json.dumps(stored))
    try:
        assert coded_run(tmp_path / 'a', COUNT).state() == 'running'
        with pytest.raises(UserError, match=f'process {number} of {name} still runs in it; '):
            coded_run(tmp_path / 'a', COUNT).state(LocalExecutor())
        del stored['process']  # a command that was killed before it could write it down
        path.write_text(json.dumps(stored))
        with pytest.raises(UserError, match='a process still runs in it; wait, or stop it there'):
            coded_run(tmp_path / 'a', COUNT).state(OtherExecutor())
    finally:
        executor.cancel([run.job])
    again = coded_run(tmp_path / 'a', COUNT)
    run_all([again], LocalExecutor())
    assert again.state() == 'done'


def test_what_a_failed_run_leaves_behind_does_not_keep_it(tmp_path):
    """Such as a worker of its data loader, which has its log for some seconds longer."""
    code = (
        'import os, subprocess, sys; process = subprocess.Popen([sys.executable, "-S", "-c", '
        '"import time; time.sleep(60)"]); print(process.pid, flush=True); sys.exit(3)'
    )
    run_all([coded_run(tmp_path / 'a', code)], LocalExecutor())
    log = tmp_path / 'a' / 'run.log'
    assert is_locked(log)
    try:
        assert coded_run(tmp_path / 'a', COUNT).state(LocalExecutor()) == 'new'
    finally:
        os.kill(int(log.read_text()), signal.SIGKILL)


def test_a_file_system_without_locks_does_not_say_what_another_machine_runs(tmp_path, monkeypatch):
    run, executor = coded_run(tmp_path / 'a', COUNT), LocalExecutor()
    run.start(executor)
    executor._running[run.job.token][1].wait(30)
    path = tmp_path / 'a' / 'run.json'
    stored = json.loads(path.read_text())
    stored['process']['host'] = 'elsewhere'
    path.write_text(json.dumps(stored))

    def flock(file, operation):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr('fcntl.flock', flock)
    log = tmp_path / 'a' / 'run.log'
    with pytest.raises(UserError, match=f'may still run in it: once it is over, remove {log}$'):
        coded_run(tmp_path / 'a', COUNT).state(LocalExecutor())
    log.unlink()
    assert coded_run(tmp_path / 'a', COUNT).state(LocalExecutor()) == 'new'


PRINTS = (
    COUNT
    + """
import os, time
print('{"mb": ' + sys.argv[2] + '}', flush=True)
if sys.argv[2] == '1': sys.exit(3)
open(sys.argv[1] + '/ready', 'w').write('ready\\n')
while not os.path.exists(sys.argv[1] + '/go'):
    time.sleep(.05)
"""
)


def measuring(folder, number, code=PRINTS):
    """A run of what prints its result; that of number 1 fails."""
    return coded_run(folder, code, str(number), read=read_result)


@pytest.mark.parametrize('waited', [True, False])
def test_what_measures_and_was_left_is_not_done_twice(tmp_path, capsys, waited):
    """It names no folder among its arguments; whether it ended well, its own result tells."""
    failed = measuring(tmp_path / 'a', 1)
    run_all([failed], LocalExecutor())
    assert failed.error.startswith('exit code 3')
    assert measuring(tmp_path / 'a', 1).state() == 'new'  # though it has printed one
    first, run = LocalExecutor(), measuring(tmp_path / 'a', 2)
    run.start(first)
    deadline = time.monotonic() + 30
    while not (tmp_path / 'a' / 'ready').exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    again = measuring(tmp_path / 'a', 2)
    if waited:
        assert again.state(LocalExecutor()) == 'running'
        again = measuring(tmp_path / 'a', 2)
    (tmp_path / 'a' / 'go').touch()
    if not waited:
        first._running[run.job.token][1].wait(30)
    run_all([again], LocalExecutor())
    assert again.state() == 'done' and read_result(again) == dict(mb=2)
    assert (tmp_path / 'a' / 'starts').read_text() == '1;2;'
    first.leave()


def test_what_measures_and_was_left_without_a_result_begins_anew(tmp_path, capsys):
    code = PRINTS.replace(
        "print('{", "time.sleep(60) if not os.path.exists(sys.argv[1] + '/go') else print('{"
    )
    first, run = LocalExecutor(), measuring(tmp_path / 'a', 2, code)
    run.start(first)
    again = measuring(tmp_path / 'a', 2, code)
    executor, poll = LocalExecutor(), LocalExecutor.poll

    def kill(jobs):
        if not (tmp_path / 'a' / 'go').exists():
            (tmp_path / 'a' / 'go').touch()
            first.cancel([run.job])
        return poll(executor, jobs)

    executor.poll = kill
    run_all([again], executor, retries=0)
    assert again.state() == 'done' and read_result(again) == dict(mb=2)
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out] == ['running', 'over', 'new', 'ended']
