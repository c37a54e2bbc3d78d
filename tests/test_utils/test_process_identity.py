"""A process is known by its machine, its number and its start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from rdarts.utils import process_identity
from rdarts.utils.process_identity import ProcessIdentity

SLEEPS = [sys.executable, '-S', '-c', 'import time; time.sleep(60)']


def test_a_process_and_what_is_not_it():
    process = subprocess.Popen(SLEEPS)
    try:
        found = ProcessIdentity.of(process.pid)
        assert (found.host, found.number) == (socket.gethostname(), process.pid)
        assert found.is_here and found.is_running()
        later, elsewhere = replace(found, started='1'), replace(found, host='elsewhere')
        named_alike = replace(found, boot='another')
        for other in (later, elsewhere, named_alike):
            assert not other.is_running()
            other.send(signal.SIGKILL)
        assert process.poll() is None
        assert str(found) == f'process {process.pid} of this machine'
        assert str(elsewhere) == f'process {process.pid} of elsewhere'
        found.send(signal.SIGTERM)
        # not waited for, it is still listed
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not found.is_running() and ProcessIdentity.of(process.pid) == found
    finally:
        process.kill()
        assert process.wait() == -signal.SIGTERM
    assert ProcessIdentity.of(process.pid) is None and not found.is_running()
    found.send(signal.SIGKILL)


@pytest.mark.skipif(not os.path.exists('/proc/self/stat'), reason='there is no /proc')
@pytest.mark.parametrize('name', ['python', 'a) R 1 (b'])
def test_its_start_is_that_of_the_system(tmp_path, name):
    """Whatever its program is called."""
    (tmp_path / name).symlink_to(sys.executable)
    process = subprocess.Popen([str(tmp_path / name), *SLEEPS[1:]])
    try:
        found = ProcessIdentity.of(process.pid)
        seconds = int(found.started) / os.sysconf('SC_CLK_TCK') + psutil.boot_time()
        expected = psutil.Process(process.pid).create_time()
        assert abs(seconds - expected) < 1.5  # the start of the machine is rounded
        assert found.is_running()
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not os.path.exists('/bin/ps'), reason='there is no ps')
def test_without_proc_ps_is_asked(monkeypatch):
    process = subprocess.Popen(SLEEPS)
    try:
        monkeypatch.setattr(process_identity.os.path, 'exists', lambda path: False)
        found = ProcessIdentity.of(process.pid)
        assert found.is_running() and found.started.count(':') == 2
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not found.is_running()
    finally:
        process.kill()
        process.wait()
    assert ProcessIdentity.of(process.pid) is None


BSD = """#!/bin/sh
case "$*" in
  *=,*) echo ",lstart="; exec /bin/ps -o stat= -p "$4";;  # all behind the first = is a title
  *) exec /bin/ps "$@";;
esac
"""


@pytest.mark.skipif(not os.path.exists('/bin/ps'), reason='there is no ps')
@pytest.mark.parametrize('script', [BSD, '#!/bin/sh\necho S\n'], ids=['bsd', 'short'])
def test_what_ps_may_be(tmp_path, monkeypatch, script):
    """One of BSD, and one that does not say when a process was started."""
    (tmp_path / 'ps').write_text(script)
    (tmp_path / 'ps').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.setattr(process_identity.os.path, 'exists', lambda path: False)
    found = ProcessIdentity.of(os.getpid())
    if script != BSD:
        assert found is None
    else:
        assert found.is_running() and found.started.count(':') == 2
        assert not replace(found, started='').is_running()


@pytest.mark.skipif(not process_identity.BOOT.exists(), reason='there is no /proc')
def test_machines_of_one_name_are_told_from_each_other(tmp_path, monkeypatch):
    found = ProcessIdentity.of(os.getpid())
    assert found.boot == process_identity.BOOT.read_text().strip() and found.is_here
    alike = replace(found, boot='another')
    assert not alike.is_here and str(alike) == f'process {os.getpid()} of {found.host}'
    assert replace(found, boot='').is_here  # it was not known there
    monkeypatch.setattr(process_identity, 'BOOT', tmp_path / 'none')
    assert not found.is_here and ProcessIdentity.of(os.getpid()).boot == ''


def test_what_is_read_is_what_was_written():
    found = ProcessIdentity('a', 12, '345', 'b')
    assert ProcessIdentity.parse(found.as_data()) == found
    earlier = dict(host='a', number=12, started='345')
    assert ProcessIdentity.parse(earlier) == replace(found, boot='')
    wrong = [dict(number='12'), dict(number=True), dict(number=-1), dict(host=3), dict(started=4)]
    wrong.append(dict(boot=5))
    for data in (None, [], 'a', {}, *(dict(found.as_data(), **one) for one in wrong)):
        assert ProcessIdentity.parse(data) is None
