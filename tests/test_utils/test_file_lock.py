"""A file is locked for as long as a process has it that was started with it."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys

from rdarts.utils.file_lock import is_locked, lock_open

READS = [sys.executable, '-S', '-c', 'import sys; sys.stdin.read()']


def test_a_process_keeps_the_lock_of_its_output(tmp_path):
    path = tmp_path / 'log'
    assert is_locked(path) is False and not path.exists()
    with open(path, 'ab') as file:
        lock_open(file)
        process = subprocess.Popen(READS, stdin=subprocess.PIPE, stdout=file)
    assert is_locked(path) is True
    with open(path, 'ab') as file:
        lock_open(file)  # another has it
    assert is_locked(path) is True
    process.communicate()
    assert is_locked(path) is False


def test_without_locks_nothing_is_known(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', flock)
    with open(tmp_path / 'log', 'ab') as file:
        lock_open(file)
    assert is_locked(tmp_path / 'log') is None
    assert is_locked(tmp_path / 'none') is False
