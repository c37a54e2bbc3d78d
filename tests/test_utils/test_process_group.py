"""Commands that end with all that they have started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from rdarts.utils.process_group import run_group


def is_running(number):
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        with open(f'/proc/{number}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] not in 'ZX'
    except FileNotFoundError:
        return False


def test_what_a_command_gives():
    code = 'import sys; print("out"); print("err", file=sys.stderr); sys.exit(3)'
    done = run_group([sys.executable, '-c', code], dict(os.environ))
    assert (done.returncode, done.stdout, done.stderr) == (3, 'out\n', 'err\n')


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='no /proc')
def test_a_command_that_takes_too_long_ends_with_what_it_has_started():
    with pytest.raises(subprocess.TimeoutExpired) as error:
        run_group(['sh', '-c', 'sleep 600 & echo $!; wait'], timeout=1)
    assert error.value.timeout == 1 and not is_running(int(error.value.output))


def test_what_has_left_the_group_does_not_hold_it_up(monkeypatch):
    monkeypatch.setattr('rdarts.utils.process_group.LEFT', 0.1)
    with pytest.raises(subprocess.TimeoutExpired) as error:
        run_group(['sh', '-c', 'setsid sleep 600 & echo $!; wait'], timeout=1)
    os.kill(int(error.value.output), signal.SIGKILL)


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='no /proc')
def test_a_process_that_is_stopped_ends_its_commands(tmp_path):
    told = tmp_path / 'told'
    waits = ['sh', '-c', f'ln -s $$ {told}; exec sleep 600']
    code = f"""
import signal
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # where coverage is measured, it has a handler
from rdarts.utils.process_group import run_group
run_group({waits!r})
"""
    process = subprocess.Popen([sys.executable, '-c', code])
    while not told.is_symlink():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert not is_running(int(os.readlink(told)))
