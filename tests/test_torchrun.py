"""``rdarts.torchrun``: exit codes without a traceback, and signals that reach the processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException, SubprocessContext
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from rdarts import cli, torchrun


def failed(code):
    return ChildFailedError('train.py', {1: ProcessFailure(1, 12, code, 'none')})


@pytest.mark.parametrize(
    ('error', 'code', 'says'),
    [
        (None, 0, ''),
        (SignalException('got 2', 2), 130, ''),
        (failed(2), 2, ''),  # the process has said why
        (failed(130), 130, ''),
        (failed(-15), 143, 'error: process 1 of the run was ended by signal SIGTERM\n'),
        (failed(-9), 137, 'was ended by signal SIGKILL; the system does so to what takes too '),
        (failed(-40), 168, 'error: process 1 of the run was ended by signal 40\n'),
    ],
)
def test_exit_codes(error, code, says, monkeypatch, capsys):
    def start(args):
        assert args.nproc_per_node == '2'
        if error is not None:
            raise error

    monkeypatch.setattr(run, 'run', start)
    monkeypatch.setattr(SubprocessContext, '_close', SubprocessContext._close)
    monkeypatch.setattr('sys.argv', ['torchrun', '--nproc-per-node=2', 'train.py', 'config.py'])
    assert cli.run_guarded(torchrun.main) == code
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == bool(says)


SAVES = """
import os, pathlib, signal, sys, time

heard = pathlib.Path(sys.argv[1])

def note(number, frame):
    second = heard.exists()
    with heard.open('a') as file:
        file.write(signal.Signals(number).name + ' ')
    if second and number == signal.SIGINT:
        os._exit(130)

signal.signal(signal.SIGINT, note)
signal.signal(signal.SIGTERM, note)
print('ready', flush=True)
while True:  # saves
    time.sleep(0.05)
"""


@pytest.mark.slow
def test_second_ctrl_c_reaches_the_processes(tmp_path):
    script, heard = tmp_path / 'saves.py', tmp_path / 'heard'
    script.write_text(SAVES)
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, '-m', 'rdarts.torchrun', '--nproc-per-node=1']
    with subprocess.Popen(
        [*command, f'--master-port={port}', str(script), str(heard)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as launcher:
        try:
            assert launcher.stdout.readline() == 'ready\n'
            launcher.send_signal(signal.SIGINT)
            while not heard.exists():
                assert launcher.poll() is None
                time.sleep(0.02)
            launcher.send_signal(signal.SIGINT)
            out, err = launcher.communicate(timeout=60)
        finally:
            launcher.kill()
    assert (launcher.returncode, out, err) == (130, '', '')
    assert heard.read_text() == 'SIGINT SIGINT '


@pytest.mark.parametrize(
    ('later', 'patience'),
    [
        ([signal.SIGTERM, signal.SIGHUP], torchrun.SECONDS_TO_SAVE),
        ([signal.SIGTERM, signal.SIGINT], torchrun.SECONDS_TO_END),
    ],
)
def test_only_ctrl_c_shortens_the_time_to_save(later, patience, monkeypatch):
    sent = []

    def close(self, death_sig, timeout):
        sent.append((death_sig, timeout))
        if len(sent) <= len(later):
            raise SignalException('again', later[len(sent) - 1])

    monkeypatch.setattr(SubprocessContext, '_close', close)
    torchrun._pass_on_later_signals()
    SubprocessContext._close(None, signal.SIGINT, torchrun.SECONDS_TO_SAVE)
    assert [number for number, _ in sent] == [signal.SIGINT, *later]
    assert sent[-1][1] == patience


def test_nohup_holds_for_the_launcher(monkeypatch):
    monkeypatch.setattr(run, 'run', lambda args: None)
    monkeypatch.setattr('sys.argv', ['torchrun', 'train.py'])
    monkeypatch.setattr(SubprocessContext, '_close', SubprocessContext._close)
    monkeypatch.setenv('TORCHELASTIC_SIGNALS_TO_HANDLE', '')
    monkeypatch.delenv('TORCHELASTIC_SIGNALS_TO_HANDLE')
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        torchrun.main()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert os.environ['TORCHELASTIC_SIGNALS_TO_HANDLE'] == 'SIGTERM,SIGINT,SIGQUIT'
