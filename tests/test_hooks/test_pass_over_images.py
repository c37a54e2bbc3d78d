"""An architect's pass over the training images after an epoch: its order, and resumption."""

from __future__ import annotations

import os
import signal

import pytest
from helpers import digits_config, digits_runner, log_text
from mmengine.hooks import Hook
from same_runs import assert_same_state, rows

from rdarts.apis.dry_run import dry_run
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.engine.facts import Facts
from rdarts.errors import Interrupted, UserError

LENGTH = 4  # iterations of an epoch, batches of a pass
LAST = f'epoch_3_iter_{3 * LENGTH}.pth'
OPTIONS = {
    'train_cfg.max_epochs': 3,
    'default_hooks.architect.architect.shrink_epochs': [2, 2, 3],
    'default_hooks.search_log.interval': 1,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
}


class Events(Hook):
    """Notes what passes the network, and sends the process a signal before a batch of a pass."""

    priority = 'LOWEST'

    def __init__(self, epoch=None, index=None):
        self.at, self.seen = (epoch, index), []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(('weights', runner.epoch))

    def before_pass_iter(self, runner, index, count):
        assert runner.model.training and count == LENGTH
        if (runner.epoch, index) == self.at:
            os.kill(os.getpid(), signal.SIGTERM)

    def after_pass_iter(self, runner, index, count):
        assert runner.model.training
        self.seen.append(('pass', runner.epoch, index, Facts.of(runner).architect.shrinks))


def config(options=None):
    return dict(config='is_darts_nb201_digits', options={**OPTIONS, **(options or {})})


def run(folder, hooks=(), options=None, **keys):
    runner = digits_runner(folder, hooks=hooks, **config(options), **keys)
    runner.train()
    return runner


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    events = Events()
    run(folder, [events])
    return folder, events.seen


def test_a_pass_follows_the_epochs_that_are_named(whole):
    folder, seen = whole
    passes = [one for one in seen if one[0] == 'pass']
    assert passes == [
        ('pass', epoch, index, shrinks)
        for epoch, counts in ((1, (0, 0, 0, 2)), (2, (2, 2, 2, 3)))
        for index, shrinks in enumerate(counts)
    ]
    assert seen[2 * LENGTH :] == [*passes[:4], *LENGTH * [('weights', 2)], *passes[4:]]
    epochs = [row for row in rows(folder) if row['kind'] == 'epoch']
    counts = [sum(map(sum, row['alive']['cell'])) for row in epochs[1:]]
    assert 'alive' not in epochs[0] and counts == [12, 6]
    # minus the logarithms of the scores, and what the report shows of them
    weights, alpha = epochs[1]['weights']['cell'], epochs[1]['alpha']['cell']
    flags = epochs[1]['alive']['cell']
    for edge in range(6):
        best = max(range(5), key=lambda k, row=alpha[edge]: row[k])
        assert flags[edge][best] and weights[edge][best] == max(weights[edge])
    assert 'shrink 3: 6 candidates pruned, 6 of 30 are left' in log_text(folder)


@pytest.mark.slow
@pytest.mark.parametrize(('epoch', 'index'), [(1, 0), (1, 2), (1, 3), (2, 1)])
def test_it_is_resumed_at_any_batch(whole, tmp_path, epoch, index, capfd):
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, [Events(epoch, index)])
    where = f'after batch {index + 1} of a pass over the images, of 4, in epoch {epoch + 1}'
    assert str(stopped.value).startswith(f'stopped by SIGTERM {where}; saved')
    line = f'SIGTERM: stops after batch {index + 1} of a pass over the images, of 4, with'
    assert line in capfd.readouterr().err
    saved = read_checkpoint(tmp_path / f'iter_{LENGTH * (epoch + 1)}.pth')
    own = saved['arch']['own']
    assert own['batches'] == (index + 1) % LENGTH
    assert own['shrinks'] == [0, 0, 2, 3][epoch + (index + 1 == LENGTH)]
    run(tmp_path, resume=True)
    assert_same_state(tmp_path / LAST, whole[0] / LAST)
    assert rows(tmp_path) == rows(whole[0])


def test_a_pass_is_in_float32_where_the_weights_learn_in_bfloat16(tmp_path):
    run(tmp_path, options={'optim_wrapper.type': 'rdarts.BFloat16OptimWrapper'})  # as --amp bf16
    last = [row for row in rows(tmp_path) if row['kind'] == 'epoch'][-1]
    assert sum(map(sum, last['alive']['cell'])) == 6
    scores = [-one for edge in last['alpha']['cell'] for one in edge]
    assert scores.count(80.0) == 6  # of none


def test_a_run_that_does_not_go_on_as_it_began(whole, tmp_path):
    path = whole[0] / LAST
    options = {'default_hooks.architect.architect.shrink_epochs': [2]}
    with pytest.raises(UserError, match=r'arch\.own\.shrinks is 3, but must be'):
        run(tmp_path, options=options, resume=str(path))


@pytest.mark.slow
def test_a_dry_run_counts_the_passes(tmp_path, capsys):
    found = dry_run(digits_config(tmp_path / 'run', **config()))
    assert found['seconds_per_pass'] > 0
    assert ' s over the training images, after 2 epochs' in capsys.readouterr().out


def test_a_search_without_a_shrink_is_told_so(tmp_path):
    run(tmp_path, options={'train_cfg.max_epochs': 1})
    line = 'whose genotype says nothing: shrink_epochs begins with 2, of 1 epoch'
    assert line in log_text(tmp_path)
