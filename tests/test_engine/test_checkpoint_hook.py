"""Checkpoints of a run: which are kept, and what a failed write leaves."""

from __future__ import annotations

import os
import signal

import pytest
from helpers import digits_runner

from rdarts.checkpoint.directory import list_checkpoints
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.engine.checkpoint_hook import AtomicCheckpointHook
from rdarts.errors import RunFailed, UserError


def test_at_least_two_are_kept():
    assert AtomicCheckpointHook(max_keep_ckpts=1).keep == 2
    assert AtomicCheckpointHook(max_keep_ckpts=-1).keep is None
    assert AtomicCheckpointHook().keep == 3


@pytest.mark.parametrize(
    ('args', 'says'),
    [
        (dict(max_keep_ckpts=0), 'max_keep_ckpts must be a positive whole number, or -1'),
        (dict(max_keep_ckpts='3'), "max_keep_ckpts must be .* but is '3'"),
        (dict(save_optimizer=False), 'save_optimizer=False leaves out what resuming needs'),
        (dict(save_param_scheduler=False), 'save_param_scheduler=False leaves out'),
        (dict(out_dir='s3://bucket/run'), 'out_dir must be a local folder'),
    ],
)
def test_arguments_with_which_a_run_could_not_be_resumed(args, says):
    with pytest.raises(UserError, match=says):
        AtomicCheckpointHook(**args)


@pytest.mark.slow
def test_retention(tmp_path):
    options = {
        'train_cfg.max_epochs': 2,
        'default_hooks.checkpoint.max_keep_ckpts': 1,
        'default_hooks.checkpoint.iter_interval': 1,
    }
    before = signal.getsignal(signal.SIGINT)  # ignored in a shell's background
    runner = digits_runner(tmp_path, options)
    runner.train()
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ['epoch_2_iter_4.pth', 'iter_4.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / names[0])
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_by_minutes(tmp_path):
    runner = digits_runner(
        tmp_path,
        {'default_hooks.checkpoint.minutes': 1e-9, 'default_hooks.checkpoint.iter_interval': 0},
    )
    runner.train()
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ['epoch_1_iter_2.pth', 'iter_2.pth', 'iter_1.pth']


@pytest.mark.parametrize('function', ['replace', 'fsync'])
def test_failed_write_keeps_the_old(function, tmp_path, monkeypatch):
    runner = digits_runner(tmp_path, {'default_hooks.checkpoint.iter_interval': 1})
    hook = next(h for h in runner.hooks if isinstance(h, AtomicCheckpointHook))
    unbroken = getattr(os, function)

    def fail_at_second(first, *rest):
        path = os.readlink(f'/proc/self/fd/{first}') if function == 'fsync' else first
        if 'iter_2.pth' in str(path):
            raise OSError('broken')  # without an error number
        return unbroken(first, *rest)

    monkeypatch.setattr(os, function, fail_at_second)
    with pytest.raises(RunFailed, match='cannot write the checkpoint .*iter_2.pth: broken. Last'):
        runner.train()
    monkeypatch.undo()
    assert [path.name for path in list_checkpoints(tmp_path)] == ['iter_1.pth']
    assert read_checkpoint(tmp_path / 'iter_1.pth')['meta']['iter'] == 1
    assert not list(tmp_path.glob('.*.tmp'))
    hook.stop.release()


@pytest.mark.slow
def test_where_all_are_kept_a_resumed_run_keeps_them_too(tmp_path):
    options = {'train_cfg.max_epochs': 2, 'default_hooks.checkpoint.max_keep_ckpts': -1}
    digits_runner(tmp_path, options).train()
    digits_runner(tmp_path, options, resume=True).train()
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ['epoch_2_iter_4.pth', 'epoch_1_iter_2.pth']
