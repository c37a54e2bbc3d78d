"""Signals that stop a run: what is said at once, workers, and validations."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time

import pytest
from helpers import digits_runner
from same_runs import same
from test_engine.event_hooks import SignalAt

from rdarts.checkpoint.directory import list_checkpoints
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.engine.stop_signals import StopRequest
from rdarts.errors import Interrupted


def test_interrupted_exit_codes():
    assert Interrupted('', signal.SIGTERM).code == 143
    assert Interrupted('', signal.SIGINT).code == 130


@pytest.mark.slow
def test_a_closed_terminal_is_a_signal_unless_it_is_ignored(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        for ignored in (True, False):
            signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
            (runner := digits_runner(tmp_path)).register_hook(SignalAt('iter', 1, signal.SIGHUP))
            if ignored:  # as under nohup
                runner.train()
                assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            else:
                with pytest.raises(Interrupted, match='stopped by SIGHUP after iteration 1; saved'):
                    runner.train()
                assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
    assert [path.name for path in list_checkpoints(tmp_path)] == ['iter_1.pth']


def test_a_second_ctrl_c_stops_while_the_first_is_answered(monkeypatch):
    stop, said = StopRequest(), []

    def write(number, line):
        said.append(line)
        stop.note(signal.SIGINT, None)

    monkeypatch.setattr(os, 'write', write)
    with pytest.raises(KeyboardInterrupt):
        stop.note(signal.SIGINT, None)
    assert len(said) == 1


@pytest.mark.slow
def test_a_forked_worker_ends_by_sigterm_and_leaves_ctrl_c_to_its_parent():
    stop = StopRequest()
    before = {n: signal.signal(n, stop.note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        context = multiprocessing.get_context('fork')
        worker = context.Process(target=time.sleep, args=(60,))
        worker.start()
        for _ in range(2):
            os.kill(worker.pid, signal.SIGINT)
        worker.join(0.5)
        assert worker.is_alive()
        worker.terminate()
        worker.join(10)
        assert worker.exitcode == -signal.SIGTERM
        for _ in range(100):  # at any moment from its birth on
            worker = context.Process(target=time.sleep, args=(60,))
            worker.start()
            worker.terminate()
            worker.join(10)
            assert worker.exitcode == -signal.SIGTERM
        with context.Pool(1) as pool:
            assert pool.apply(signal.getsignal, (signal.SIGTERM,)) == signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.number == signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def epoch_rows(folder):
    rows = map(json.loads, (folder / 'search_log.jsonl').read_text().splitlines())
    return [{k: v for k, v in row.items() if k not in ('time', 'data_time', 'memory')}
            for row in rows if row.get('mode') != 'start']  # fmt: skip


@pytest.fixture
def ctrl_c():
    """SIGINT ends a run here, also where tests run in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.parametrize('interval', [1, 2])
def test_a_stopped_validation_is_made_up(interval, tmp_path, ctrl_c, capfd):
    options = {'train_cfg.max_epochs': 2, 'default_hooks.checkpoint.interval': interval}
    ema = dict(type='EMAHook', momentum=0.5)

    def runner(name, hooks=(), **keys):
        return digits_runner(tmp_path / name, options, hooks=hooks, custom_hooks=[ema], **keys)

    runner('whole').train()
    capfd.readouterr()
    stop = SignalAt('val_iter', 1, signal.SIGINT)
    with pytest.raises(Interrupted, match='stopped by Ctrl-C in the validation of epoch 1; saved'):
        runner('run', [stop]).train()
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith('Ctrl-C')]
    assert said == [
        'Ctrl-C: stops after a batch of the validation of epoch 1, with a checkpoint; '
        'Ctrl-C again stops at once'
    ]
    saved = read_checkpoint(tmp_path / 'run' / 'epoch_1_iter_2.pth')
    assert saved['validated'] is False
    runner('run', resume=True).train()
    last = 'epoch_2_iter_4.pth'
    left, right = (read_checkpoint(tmp_path / name / last) for name in ('run', 'whole'))
    for key in ('state_dict', 'ema_state_dict', 'optimizer', 'arch', 'random_state'):
        assert same(left[key], right[key]), key
    assert epoch_rows(tmp_path / 'run') == epoch_rows(tmp_path / 'whole')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('event', 'number', 'says'),
    [
        ('iter', 1, 'iteration 1'),
        ('saved', 1, 'iteration 2'),
        ('saved', 2, 'epoch 1'),
        ('epoch', 1, 'epoch 1'),
        ('val', 1, 'a batch of the validation of epoch 1'),
    ],
)
def test_a_signal_says_what_is_being_finished(event, number, says, tmp_path, ctrl_c, capfd):
    options = {'train_cfg.max_epochs': 2}
    runner = digits_runner(tmp_path, options, hooks=[SignalAt(event, number, signal.SIGTERM)])
    with pytest.raises(Interrupted, match='stopped by SIGTERM') as stopped:
        runner.train()
    assert stopped.value.code == 143
    err = capfd.readouterr().err
    assert f'SIGTERM: stops after {says}, with a checkpoint; Ctrl-C again stops at once\n' in err


def test_a_loop_that_begins_an_epoch_anew_saves_nothing_within_it(tmp_path, ctrl_c, capfd):
    options = {
        'train_cfg.type': 'EpochBasedTrainLoop',
        'default_hooks.architect': None,
        'train_cfg.max_epochs': 2,
        'default_hooks.checkpoint.iter_interval': 1,
        'default_hooks.checkpoint.minutes': 1e-9,
    }
    stop = SignalAt('iter', 3, signal.SIGTERM)
    says = 'stopped by SIGTERM after iteration 3; epoch 2 begins anew: start the same command with'
    with pytest.raises(Interrupted, match=says):
        digits_runner(tmp_path, options, hooks=[stop]).train()
    assert 'SIGTERM: stops after iteration 3; Ctrl-C again' in capfd.readouterr().err
    assert [path.name for path in list_checkpoints(tmp_path)] == ['epoch_1_iter_2.pth']
    resumed = digits_runner(tmp_path, options, resume=True)
    resumed.train()
    assert (resumed.epoch, resumed.iter) == (2, 4)  # as many as without the signal
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ['epoch_2_iter_4.pth', 'epoch_1_iter_2.pth']
