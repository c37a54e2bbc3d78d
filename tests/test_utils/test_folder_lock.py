from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import socket

import pytest

from rdarts.errors import UserError
from rdarts.utils import folder_lock
from rdarts.utils.folder_lock import FolderLock


def held_elsewhere(folder, ready, forks):
    lock = FolderLock(folder)
    worker = os.fork() if forks else os.getpid()
    if worker == 0:
        signal.pause()
    ready.send(worker)
    signal.pause()
    lock.release()


@pytest.mark.parametrize('forks', [False, True])
def test_it_ends_with_its_process(tmp_path, forks):
    """However that ends, and whatever it has started."""
    context = multiprocessing.get_context('fork')
    here, there = context.Pipe()
    process = context.Process(target=held_elsewhere, args=(tmp_path, there, forks))
    process.start()
    worker = here.recv()
    who = f'process {process.pid} on {socket.gethostname()}, since'
    with pytest.raises(UserError, match=f'{tmp_path} is in use: {who} .* works in it; wait'):
        FolderLock(tmp_path)
    process.kill()
    process.join()
    try:
        with FolderLock(tmp_path):
            text = (tmp_path / '.lock').read_text()
        assert text.startswith(f'process {os.getpid()} ') and len(text.splitlines()) == 1
        assert list(tmp_path.iterdir()) == []
    finally:
        if forks:
            os.kill(worker, signal.SIGKILL)


def test_twice_in_one_process(tmp_path):
    lock = FolderLock(tmp_path / 'new')
    with pytest.raises(UserError, match=f'process {os.getpid()} '):
        FolderLock(tmp_path / 'new')
    lock.release()
    lock.release()
    FolderLock(tmp_path / 'new').release()


def test_a_file_that_is_left_means_nothing(tmp_path):
    (tmp_path / '.lock').write_text('process 1 on elsewhere, since long ago, with more to say\n')
    with FolderLock(tmp_path):
        assert 'elsewhere' not in (tmp_path / '.lock').read_text()


def test_released_in_between(tmp_path, monkeypatch):
    """The file that was opened is no longer the one that others open."""
    flock, calls = fcntl.flock, []

    def late(file, flags):
        if not calls:
            (tmp_path / '.lock').unlink()
        calls.append(file)
        flock(file, flags)

    monkeypatch.setattr(folder_lock.fcntl, 'flock', late)
    with FolderLock(tmp_path):
        assert len(calls) == 2
        assert (tmp_path / '.lock').read_text().startswith(f'process {os.getpid()} ')


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys, number):
    def none(file, flags):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folder_lock.fcntl, 'flock', none)
    with FolderLock(tmp_path):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'warning: the file system of {tmp_path} has no locks')
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be written: Not a directory; choose another'):
        FolderLock(tmp_path / 'file' / 'run')
