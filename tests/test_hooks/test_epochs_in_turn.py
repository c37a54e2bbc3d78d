"""A pass over alpha's images after each epoch of the weights: its order, log and resumption."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
from helpers import digits_config, digits_runner
from mmengine.hooks import Hook

from rdarts.apis.dry_run import dry_run
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.engine.facts import Facts
from rdarts.errors import Interrupted, UserError
from rdarts.hooks.architect_hook import ArchitectHook

ADAM = dict(type='Adam', lr=1e-3)
# two iterations of the weights, four steps of alpha
OPTIONS = {
    'train_cfg.max_epochs': 3,
    'arch_dataloader.batch_size': 4,
    'default_hooks.architect.step_order': 'epochs_in_turn',
    'default_hooks.architect.start_epoch': 1,
    'default_hooks.search_log.interval': 2,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
}


class Events(Hook):
    """Notes what moves, and sends the process a signal after a step of a pass."""

    priority = 'LOWEST'  # after what a signal is answered with

    def __init__(self, epoch=None, index=None, number=signal.SIGTERM):
        self.at, self.number, self.seen = (epoch, index), number, []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(('weights', runner.epoch, Facts.of(runner).architect.steps))

    def before_alpha_iter(self, runner, index, count):
        assert runner.model.training
        if (runner.epoch, index) == self.at:
            os.kill(os.getpid(), self.number)

    def after_alpha_iter(self, runner, index, count):
        assert count == 4
        self.seen.append(('alpha', runner.epoch, index))


def run(folder, hooks=(), options=None, **keys):
    runner = digits_runner(folder, {**OPTIONS, **(options or {})}, hooks=hooks, **keys)
    runner.train()
    return runner


def rows(folder):
    found = [json.loads(line) for line in (folder / 'search_log.jsonl').read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ('time', 'memory')} for row in found]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    events = Events()
    run(folder, [events])
    return folder, events.seen


def test_epochs_take_turns(whole):
    folder, seen = whole
    expected = []
    for epoch in range(3):
        steps = 4 * max(0, epoch - 1)
        expected += 2 * [('weights', epoch, steps)]
        expected += [('alpha', epoch, index) for index in range(4)] if epoch else []
    assert seen == expected
    own = rows(folder)
    found = [(row['kind'], row['epoch'], row['iter'], 'arch_loss' in row) for row in own]
    for epoch in (1, 2, 3):
        mine = [row for row in found if row[0] == 'iter' and row[1] == epoch]
        # every second step of either, and the last
        passes = 2 * [('iter', epoch, 2 * epoch, True)] if epoch > 1 else []
        assert mine == [('iter', epoch, 2 * epoch, False), *passes]
    state = read_checkpoint(folder / 'epoch_3_iter_6.pth')
    assert state['arch']['steps'] == 8


@pytest.mark.slow
@pytest.mark.parametrize(('epoch', 'index'), [(1, 0), (1, 2), (1, 3), (2, 1)])
def test_a_pass_is_resumed_at_any_step(whole, tmp_path, epoch, index, capfd):
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, [Events(epoch, index)])
    where = f'after step {index + 1} of alpha, of 4, in epoch {epoch + 1}'
    assert str(stopped.value).startswith(f'stopped by SIGTERM {where}; saved')
    assert f'SIGTERM: stops after step {index + 1} of alpha, of 4, with' in capfd.readouterr().err
    saved = read_checkpoint(tmp_path / f'iter_{2 * (epoch + 1)}.pth')
    assert saved['meta']['epoch'] == epoch and saved['arch']['steps'] == 4 * (epoch - 1) + index + 1
    run(tmp_path, resume=True)
    left, right = (
        read_checkpoint(folder / 'epoch_3_iter_6.pth') for folder in (tmp_path, whole[0])
    )
    for key in ('state_dict', 'optimizer', 'arch', 'random_state', 'param_schedulers'):
        _assert_equal(left[key], right[key], key)
    assert rows(tmp_path) == rows(whole[0])


def _assert_equal(left, right, place):
    if isinstance(right, torch.Tensor):
        assert torch.equal(left, right), place
    elif isinstance(right, dict):
        assert left.keys() == right.keys(), place
        for key in right:
            _assert_equal(left[key], right[key], f'{place}.{key}')
    elif isinstance(right, (list, tuple)):
        for i, (a, b) in enumerate(zip(left, right, strict=True)):
            _assert_equal(a, b, f'{place}.{i}')
    else:
        assert left == right, place


@pytest.mark.parametrize(
    ('key', 'value'),
    [('arch_dataloader.batch_size', 2), ('default_hooks.architect.start_epoch', 0)],
)
def test_a_run_that_does_not_go_on_as_it_began(whole, tmp_path, key, value):
    path = whole[0] / 'epoch_2_iter_4.pth'
    line = r'^alpha has taken 4 steps at epoch 3, which passes of \d batches .* do not make: resume'
    with pytest.raises(UserError, match=line):
        run(tmp_path, options={key: value}, resume=str(path))


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(order=2), 'Unrolled, which needs the batches of the weights'),
        (dict(architect='rdarts.Neumann'), 'Neumann, which needs the batches of the weights'),
        (dict(architect='rdarts.SingleLevel'), 'SingleLevel, which needs the batches'),
        (dict(every=2), 'every, evenly or max_steps'),
        (dict(evenly=3), 'every, evenly or max_steps'),
        (dict(max_steps=3), 'every, evenly or max_steps'),
    ],
)
def test_what_does_not_go_with_it(arguments, line):
    with pytest.raises(UserError, match=f"step_order='epochs_in_turn' does not go with {line}"):
        ArchitectHook(step_order='epochs_in_turn', arch_optimizer=ADAM, **arguments)


@pytest.mark.slow
def test_a_dry_run_counts_the_passes(tmp_path, capsys):
    found = dry_run(digits_config(tmp_path / 'run', OPTIONS))
    printed = capsys.readouterr().out
    assert found['seconds_per_pass'] > 0 and found['seconds_at_rest'] is None
    assert found['expected_seconds'] > 2 * found['seconds_per_pass']
    assert " s over alpha's images, after each of the last 2 epochs" in printed
    options = {**OPTIONS, 'default_hooks.architect.step_order': 'alpha_first'}
    assert dry_run(digits_config(tmp_path / 'run', options))['seconds_per_pass'] is None
