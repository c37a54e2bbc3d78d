"""Runs as processes: what is repeated, what is refused, what stops them, what they are told."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from helpers import ToolProcess

from rdarts.errors import Interrupted, UserError
from rdarts.study.executors.local import LocalExecutor
from rdarts.study.queue import run_all
from rdarts.study.run import Run
from rdarts.utils import machine
from rdarts.utils.process_identity import ProcessIdentity
from rdarts.utils.stop_signals import STOP_SIGNALS, catch_signals

KILLED = 'signal SIGKILL (killed, as the system does when memory runs out: see dmesg)'


def make_run(folder, code, *args, **keys):
    """A run of Python code whose first argument is its folder."""
    command = [sys.executable, '-S', '-c', code, str(folder), *map(str, args)]
    keys = dict(dict(settings=dict(seed=0)), **keys)
    return Run(folder.name, folder, command, **keys)


def written(path, timeout=30):
    """The content of a file that a process is about to write."""
    deadline = time.monotonic() + timeout
    while not (path.is_file() and path.read_text().endswith('\n')):
        assert time.monotonic() < deadline, f'{path} was not written'
        time.sleep(0.02)
    return path.read_text().strip()


COUNT = 'import sys; open(sys.argv[1] + "/starts", "a").write(" ".join(sys.argv[2:]) + ";")'


def test_what_has_ended_is_not_repeated(tmp_path, capsys):
    for _ in range(2):
        run_all([make_run(tmp_path / name, COUNT) for name in 'ab'], LocalExecutor(1))
    assert [(tmp_path / name / 'starts').read_text() for name in 'ab'] == [';', ';']
    out = capsys.readouterr().out
    assert out == 'new     a\nended   a\nnew     b\nended   b\n'


@pytest.mark.parametrize('where', ['.', 'phase_1', 'phase_0/branch_2'])
def test_what_was_killed_goes_on_from_its_checkpoint(tmp_path, capsys, where):
    killed = make_run(tmp_path / 'a', COUNT + '; import os; os.kill(os.getpid(), 9)')
    run_all([killed], LocalExecutor(1))
    assert killed.error == f'{KILLED} after: no output'
    assert make_run(tmp_path / 'a', COUNT, resume=('--resume',)).state() == 'new'
    folder = tmp_path / 'a' / where
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'epoch_1_iter_1.pth').touch()
    assert make_run(tmp_path / 'a', COUNT).state() == 'new'
    run_all([make_run(tmp_path / 'a', COUNT, resume=('--resume',))], LocalExecutor(1))
    assert (tmp_path / 'a' / 'starts').read_text() == ';--resume;'
    assert 'resume  a\nended   a\n' in capsys.readouterr().out


def test_a_failure_has_the_error_of_its_own_start(tmp_path):
    """What an earlier start printed into the same log is not its reason."""
    steps = (
        ('print("error: config not found"); sys.exit(2)', 'config not found'),
        ('print("loss 3"); os.kill(os.getpid(), 9)', f'{KILLED} after: loss 3'),
        ('print("odd"); sys.exit(7)', 'exit code 7 after: odd'),
    )
    others = []
    for code, error in steps:
        code = f'import os, sys; {code.replace("; os", "; sys.stdout.flush(); os")}'
        run, other = make_run(tmp_path / 'a', code), make_run(tmp_path / f'b{len(others)}', COUNT)
        others.append(other)
        run_all([run, other], LocalExecutor(2))
        assert run.error == error and other.error == ''
    assert all(other.state() == 'done' for other in others)


def test_a_folder_of_another_run_is_refused(tmp_path):
    run_all([make_run(tmp_path / 'a', COUNT)], LocalExecutor(1))
    other = make_run(tmp_path / 'a', COUNT, settings=dict(seed=0, content='x'))
    with pytest.raises(UserError, match=r'a run of other settings \(content\): another --work-dir'):
        run_all([other], LocalExecutor(1))
    again = make_run(tmp_path / 'a', COUNT, settings=dict(seed=1), redo=True)
    run_all([again], LocalExecutor(1))
    assert again.state() == 'done' and (tmp_path / 'a' / 'starts').read_text() == ';;'
    by_hand = tmp_path / 'b'
    by_hand.mkdir()
    (by_hand / 'iter_3.pth').touch()
    for state in (None, '[]', '{"settings": 3, "ended": true}', 'no json'):
        if state is not None:
            (by_hand / 'run.json').write_text(state)
        with pytest.raises(UserError, match='holds checkpoints of a run that was not started from'):
            make_run(by_hand, COUNT).state()


class OtherExecutor(LocalExecutor):
    name = 'other'


def test_a_run_that_still_runs_is_left_alone(tmp_path):
    code = 'import sys, time; open(sys.argv[1] + "/ready", "w").write("ready\\n"); time.sleep(60)'
    one = make_run(tmp_path / 'a', code)
    executor = LocalExecutor()
    one.start(executor)
    try:
        written(tmp_path / 'a' / 'ready')  # a process that is just being started has no command yet
        stored = json.loads((tmp_path / 'a' / 'run.json').read_text())
        process = ProcessIdentity.of(int(one.job.id))
        expected = dict(executor='local', token=one.job.token, job=one.job.id, log_start=0)
        expected.update(settings=dict(seed=0), ended=False, process=process.as_data())
        assert stored == expected and process.number == int(one.job.id)
        assert make_run(tmp_path / 'a', COUNT).state() == 'running'  # as a list of runs has it
        with pytest.raises(UserError, match=f'process {one.job.id} of this machine still runs in'):
            make_run(tmp_path / 'a', COUNT).state(OtherExecutor())
    finally:
        executor.cancel([one.job])
    assert make_run(tmp_path / 'a', COUNT).state() == 'new'


def test_what_follows_a_run_does_not_wait_for_the_others(tmp_path):
    """The slow run waits for what follows the quick one."""
    code = (
        'import os, sys, time; end = time.monotonic() + 30\n'
        'while not os.path.exists(sys.argv[2]):\n'
        '    time.sleep(.05)\n'
        '    if time.monotonic() > end: sys.exit(3)'
    )
    follower = make_run(tmp_path / 'c', COUNT)
    slow = make_run(tmp_path / 'b', code, tmp_path / 'c' / 'starts')
    for _ in range(2):  # the second time all are done
        quick, asked = make_run(tmp_path / 'a', COUNT), []

        def follow(run, quick=quick, asked=asked):
            asked.append(run.name)
            return [follower] if run is quick else []

        run_all([slow, quick], LocalExecutor(2), follow=follow)
        assert sorted(asked) == ['a', 'b', 'c'] and not (slow.error or follower.error)
        assert (tmp_path / 'c' / 'starts').read_text() == ';'
    other = make_run(tmp_path / 'c', COUNT, settings=dict(seed=1))
    with pytest.raises(UserError, match=r'other settings \(seed\)'):  # before anything runs
        run_all(
            [quick, make_run(tmp_path / 'd', COUNT)], LocalExecutor(2), follow=lambda _: [other]
        )
    assert not (tmp_path / 'd').exists()


def test_a_folder_that_cannot_be_written_stops_nothing_else(tmp_path, capsys):
    (tmp_path / 'file').touch()
    bad, good = make_run(tmp_path / 'file' / 'a', COUNT), make_run(tmp_path / 'b', COUNT)
    run_all([bad, good], LocalExecutor(1))
    assert bad.error.startswith(f'cannot write into {bad.folder}: ') and good.state() == 'done'
    assert f'failed  a: {bad.error}\n' in capsys.readouterr().out


def test_a_disk_that_is_full_fails_one_run_alone(tmp_path, monkeypatch, capsys):
    """Of the machine that starts the runs: first its log, then what says that it has ended."""
    code = 'import sys; open(sys.argv[1] + "/done", "w")'
    runs = [make_run(tmp_path / name, code) for name in 'abc']

    def popen(command, *args, popen=subprocess.Popen, **keys):
        if command[-1].endswith('a'):
            raise OSError(errno.ENOSPC, 'No space left on device')
        return popen(command, *args, **keys)

    def mark(run, ended, mark=Run.mark):
        if run.name == 'b' and ended:
            raise UserError(f'cannot write into {run.folder}: No space left on device')
        mark(run, ended)

    monkeypatch.setattr(subprocess, 'Popen', popen)
    monkeypatch.setattr(Run, 'mark', mark)
    run_all(runs, LocalExecutor(2))
    starts = f'{tmp_path / "a"}: cannot start a run: No space left on device'
    ends = f'cannot write into {tmp_path / "b"}: No space left on device'
    assert [run.error for run in runs] == [starts, ends, '']
    out = capsys.readouterr().out
    assert out.count('failed  a: ') == out.count('failed  b: ') == out.count('ended   c\n') == 1
    assert not (tmp_path / 'a' / 'done').exists() and (tmp_path / 'c' / 'done').exists()


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='there is no /dev/full')
def test_a_disk_that_is_full_for_one_run_fails_it_alone(tmp_path, capsys):
    """As where one machine has its data, or what it writes for itself."""
    code = (
        'import sys; from rdarts.cli import run_guarded; '
        'sys.exit(run_guarded(lambda: open("/dev/full", "wb", 0).write(b"x")))'
    )
    full = Run('full', tmp_path / 'full', [sys.executable, '-c', code], dict(seed=0))
    good = make_run(tmp_path / 'good', COUNT)
    run_all([full, good], LocalExecutor(2))
    assert full.error == 'no space left on the disk' and good.state() == 'done'
    out = capsys.readouterr().out.splitlines()
    assert sorted(out[2:]) == ['ended   good', 'failed  full: no space left on the disk']


def test_what_could_not_be_written_down_after_its_start_is_ended(tmp_path, monkeypatch, capsys):
    """Its place is free at once: nothing waits for a run that has failed."""
    write, left = Run._write, []

    def full(run, data):
        if run.name == 'a' and data.get('job'):
            left.append(data['process'])
            raise UserError(f'cannot write into {run.folder}: No space left on device')
        write(run, data)

    monkeypatch.setattr(Run, '_write', full)
    bad = make_run(tmp_path / 'a', 'import time; time.sleep(600)')
    good = make_run(tmp_path / 'b', COUNT)
    run_all([bad, good], LocalExecutor(1))
    assert bad.error.endswith('/a: No space left on device') and good.state() == 'done'
    assert not ProcessIdentity.parse(left[0]).is_running()
    out = capsys.readouterr().out.splitlines()
    assert out == ['new     a', f'failed  a: {bad.error}', 'new     b', 'ended   b']
    assert make_run(tmp_path / 'a', COUNT).state(LocalExecutor()) == 'new'


class Unstoppable(LocalExecutor):
    """A cluster that takes jobs and cannot be asked to end one."""

    def submit(self, job):
        return '14'

    def cancel(self, jobs):
        raise UserError('Slurm cannot be asked: scancel: no answer within a minute')


def test_a_job_that_cannot_be_ended_either_is_named(tmp_path, monkeypatch):
    def full(run, data, write=Run._write):
        if data.get('job'):
            raise UserError(f'cannot write into {run.folder}: No space left on device')
        write(run, data)

    monkeypatch.setattr(Run, '_write', full)
    run = make_run(tmp_path / 'a', COUNT)
    run_all([run], Unstoppable(1))
    assert run.error.endswith(
        'No space left on device; its job 14 is not cancelled: '
        'Slurm cannot be asked: scancel: no answer within a minute'
    )


def test_what_ended_while_nobody_could_write_it_down_is_found(tmp_path):
    """The run itself is over and its result there, but the command was killed before it said so."""
    code = 'import sys; open(sys.argv[1] + "/done", "a").write("x")'
    folder = tmp_path / 'a'
    run = make_run(folder, code, resume=('--resume',))
    executor = LocalExecutor()
    run.start(executor)
    executor._running[run.job.token][1].wait(30)
    (folder / 'epoch_1_iter_1.pth').touch()
    again = make_run(folder, code, resume=('--resume',))
    assert again.state() == 'resume'  # which ends at once, as all is done
    run_all([again], LocalExecutor())
    assert again.state() == 'done' and (folder / 'done').read_text() == 'xx'


def test_cores_and_gpus_are_shared_out(tmp_path, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS')
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '3,5')
    monkeypatch.setattr(machine, 'usable_cores', lambda root: machine.Cores(12, ''))
    code = (
        'import os, sys, time; e = os.environ; time.sleep(.3); open(sys.argv[1] + "/env", "w")'
        '.write(e["CUDA_VISIBLE_DEVICES"] + " " + e["OMP_NUM_THREADS"])'
    )
    run_all([make_run(tmp_path / name, code) for name in 'abc'], LocalExecutor(3))
    found = [(tmp_path / name / 'env').read_text() for name in 'abc']
    assert found == ['3 4', '5 4', '3 4']
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    run_all([make_run(tmp_path / 'd', code)], LocalExecutor(1))
    assert (tmp_path / 'd' / 'env').read_text() == ' 1'


SAVES = """
import signal, sys, time
def save(number, frame):
    open(sys.argv[1] + '/saved', 'w').write(signal.Signals(number).name + '\\n')
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
open(sys.argv[1] + '/ready', 'w').write('ready\\n')
time.sleep(60)
"""
QUEUE = """
import os, signal, sys
os.setsid()
# the tests themselves may run under nohup
signal.signal(signal.SIGHUP, signal.SIG_IGN if {ignored} else signal.SIG_DFL)
from pathlib import Path
from rdarts.cli import run_guarded
from rdarts.study.executors.local import LocalExecutor
from rdarts.study.queue import run_all
from rdarts.study.run import Run
folder = Path({folder!r})
run = Run('a', folder, [sys.executable, '-S', '-c', {code!r}, str(folder)], dict(seed=0))
sys.exit(run_guarded(lambda: run_all([run], LocalExecutor())))
"""


def start_queue(tmp_path, code, ignored=False):
    """A queue of one run, in a process group of its own, once the run is ready; its folder."""
    script, folder = tmp_path / 'queue.py', tmp_path / 'a'
    script.write_text(QUEUE.format(ignored=ignored, folder=str(folder), code=code))
    process = ToolProcess([script])
    written(folder / 'ready')
    return process, folder


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_lets_the_runs_save(tmp_path, number):
    """As a terminal sends Ctrl-C, and SIGHUP when it is closed."""
    process, folder = start_queue(tmp_path, SAVES)
    os.killpg(process.pid, number)
    stopped = process.wait(30)
    name = 'Ctrl-C' if number == signal.SIGINT else number.name
    assert stopped.code == 128 + number
    expected = f'stopped by {name}: the same command again goes on with what was running\n'
    assert stopped.err == expected
    assert (folder / 'saved').read_text() == 'SIGTERM\n'


@pytest.mark.slow
def test_what_is_ignored_stops_nothing(tmp_path):
    """As under nohup."""
    code = SAVES.replace('time.sleep(60)', 'time.sleep(2)')
    process, folder = start_queue(tmp_path, code, ignored=True)
    os.killpg(process.pid, signal.SIGHUP)
    ended = process.wait(30)
    assert ended.code == 0 and 'ended   a' in ended.out
    assert not (folder / 'saved').exists()


WAITS = (
    COUNT
    + """
import os, time
open(sys.argv[1] + '/ready', 'w').write('ready\\n')
while not os.path.exists(sys.argv[1] + '/go'):
    time.sleep(.05)
"""
)


def killed_queue(tmp_path, code):
    """A run whose command was killed, and goes on itself; its folder and process."""
    process, folder = start_queue(tmp_path, code)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    stored = json.loads((folder / 'run.json').read_text())
    return folder, ProcessIdentity.parse(stored['process'])


@pytest.mark.parametrize('retries', [0, 3])
def test_what_a_killed_command_has_left_is_waited_for(tmp_path, capsys, retries):
    """And the others run: one of them lets it end. That costs it none of its retries."""
    folder, process = killed_queue(tmp_path, WAITS)
    assert process.is_running()
    left = make_run(folder, WAITS)
    other = make_run(tmp_path / 'b', 'import sys; open(sys.argv[2], "w")', folder / 'go')
    run_all([other, left], LocalExecutor(2), retries)
    assert (left.state(), other.state()) == ('done', 'done')
    assert (folder / 'starts').read_text() == ';;'
    over = f'over    a: process {process.number} of an earlier command has ended'
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == ['running a', 'new     b']
    assert sorted(out[2:]) == ['ended   a', 'ended   b', 'new     a', over]


def test_what_a_killed_command_has_left_saves_when_this_one_is_stopped(tmp_path):
    folder, process = killed_queue(tmp_path, SAVES)
    executor, run = LocalExecutor(), make_run(folder, SAVES)
    assert run.state(executor) == 'running' and executor.poll([run.job]) == {}
    executor.leave()
    assert not process.is_running()
    assert (folder / 'saved').read_text() == 'SIGTERM\n'


def test_the_gpu_of_what_was_left_is_not_given_again(tmp_path, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '3,5')
    code = 'import os, sys, time; open(sys.argv[1] + "/ready", "w").write("ready\\n"); '
    first = LocalExecutor(2)
    runs = [make_run(tmp_path / name, code + 'time.sleep(60)') for name in 'ab']
    for run in runs:
        run.start(first)
    try:
        for run in runs:
            written(run.folder / 'ready')
        left = make_run(tmp_path / 'a', COUNT)
        env = code + 'open(sys.argv[1] + "/env", "w").write(os.environ["CUDA_VISIBLE_DEVICES"]); '
        # it ends what was left, for which the command waits
        end = f'os.kill({runs[0].job.id}, 9)'
        run_all([make_run(tmp_path / 'c', env + end), left], LocalExecutor(2))
    finally:
        first.cancel([run.job for run in runs])
    assert (tmp_path / 'c' / 'env').read_text() == '5'  # a has the first


def test_what_was_left_ends_with_the_command_though_it_has_no_place(tmp_path):
    first = LocalExecutor(2)
    code = 'import sys, time; open(sys.argv[1] + "/ready", "w").write("ready\\n"); time.sleep(60)'
    runs = [make_run(tmp_path / name, code) for name in 'ab']
    for run in runs:
        run.start(first)
        written(run.folder / 'ready')
    left = [make_run(tmp_path / name, code) for name in 'ab']
    executor = LocalExecutor(1)

    def stop(jobs):
        raise Interrupted('stopped', signal.SIGTERM)

    executor.poll = stop
    with pytest.raises(Interrupted):
        run_all(left, executor)
    assert not any(run.job.process.is_running() for run in runs)


def test_told_twice_it_kills(tmp_path):
    code = SAVES.replace('sys.exit(128 + number)', 'time.sleep(60)')
    process, folder = start_queue(tmp_path, code)
    os.kill(process.pid, signal.SIGTERM)
    assert written(folder / 'saved') == 'SIGTERM'
    child = json.loads((folder / 'run.json').read_text())['job']
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30).code == 143
    assert not psutil.pid_exists(int(child))


def test_what_is_ignored_is_not_caught():
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        assert catch_signals(lambda number, frame: None) == {}
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        assert catch_signals(lambda number, frame: None) == {signal.SIGTERM: signal.SIG_DFL}
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
