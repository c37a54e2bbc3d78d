"""The hooks that say when a search has settled, or is about to collapse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers import digits_runner, log_text
from mmengine.hooks import Hook

from rdarts.errors import UserError
from rdarts.genotypes import load_genotype, skips_by_cell
from rdarts.hooks import CollapseHook, ConvergenceHook

NONE, SKIP, ONE, THREE, POOL = range(5)


class SetAlpha(Hook):
    """Before anything is derived, puts the scheduled alpha: strongest candidate and its lead."""

    priority = 'ABOVE_NORMAL'

    def __init__(self, schedule):
        self.schedule = schedule

    def after_train_epoch(self, runner):
        strongest, lead = self.schedule[runner.epoch]
        alpha = runner.model.backbone.arch_parameters['cell']
        with torch.no_grad():
            alpha.zero_()
            alpha[:, strongest] = lead


def run(work_dir: Path, hook: Hook, schedule, **keys) -> list[dict]:
    runner = digits_runner(
        work_dir, {'train_cfg.max_epochs': len(schedule)}, hooks=[SetAlpha(schedule), hook], **keys
    )
    runner.train()
    lines = (work_dir / 'search_log.jsonl').read_text().splitlines()
    return [row for row in map(json.loads, lines) if row['kind'] == 'epoch']


# Convergence

FLAT, SHARP = 0.01, 6.0
SCHEDULE = [(ONE, SHARP), (THREE, FLAT), (THREE, SHARP), (THREE, SHARP), (THREE, SHARP)]


def test_it_has_settled_with_one_genotype_and_low_entropy(tmp_path):
    rows = run(tmp_path, ConvergenceHook(patience=3), SCHEDULE)
    found = [row['convergence'] for row in rows]
    assert [f['same_genotype'] for f in found] == [1, 1, 2, 3, 4]
    assert [f['settled'] for f in found] == [False, False, False, True, True]
    assert found[1]['relative_entropy'] > 0.99 and found[2]['relative_entropy'] < 0.1
    assert log_text(tmp_path).count('The search has settled: the same genotype for 3 epochs') == 1


def test_equal_weights_have_not_settled(tmp_path):
    rows = run(tmp_path, ConvergenceHook(patience=2), [(THREE, FLAT)] * 3)
    assert not any(row['convergence']['settled'] for row in rows)


def test_it_can_end_the_search(tmp_path):
    rows = run(tmp_path, ConvergenceHook(patience=3, stop=True), SCHEDULE)
    assert [row['epoch'] for row in rows] == [1, 2, 3, 4]
    assert 'it ends here' in log_text(tmp_path)
    assert load_genotype(tmp_path).ops == ('nor_conv_3x3',) * 6
    hook = ConvergenceHook(patience=3, stop=True)
    runner = digits_runner(
        tmp_path, {'train_cfg.max_epochs': 5}, hooks=[SetAlpha(SCHEDULE), hook],
        resume=True, load_from=str(next(tmp_path.glob('epoch_4_*.pth'))),
    )  # fmt: skip
    runner.train()
    assert runner.epoch == 4  # it goes on being ended


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(patience=0), 'patience must be epochs, 1 or more: 0'),
        (dict(entropy=1.5), 'entropy must be from 0 to 1, but is 1.5'),
    ],
)
def test_convergence_that_does_not_fit(kwargs, message):
    with pytest.raises(UserError, match=message):
        ConvergenceHook(**kwargs)


# Collapse


def test_skip_connections_are_counted_by_cell_type():
    text = (
        "Genotype(normal=[('skip_connect', 0), ('skip_connect', 1), ('sep_conv_3x3', 0), "
        "('sep_conv_3x3', 1), ('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 0)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), "
        "('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0)], reduce_concat=range(2, 6))"
    )
    assert skips_by_cell(load_genotype(text)) == dict(normal=3, reduce=1)


def test_it_warns_of_skip_connections(tmp_path):
    rows = run(tmp_path, CollapseHook(max_skips=2), [(THREE, 1.0), (SKIP, 1.0)])
    assert [row['collapse']['skip_connections'] for row in rows] == [{'cell': 0}, {'cell': 6}]
    text = log_text(tmp_path)
    assert text.count('Sign of collapse: 6 skip connections in the cell type') == 1


class Growing(CollapseHook):
    """With given eigenvalues."""

    values = (1.0, 1.0, 1.0, 1.1, 1.4, 9.0, 9.0, 9.0)

    def _largest_eigenvalue(self, runner, epoch):
        return self.values[epoch - 1]


def test_robust_dartss_rule_ends_a_search_and_keeps_an_earlier_genotype(tmp_path):
    schedule = [(THREE, 1.0)] * 2 + [(ONE, 1.0)] + [(SKIP, 1.0)] * 5
    hook = Growing(eigenvalue=True, window=2, delta=2, factor=1.2, start_epoch=2, stop=True)
    rows = run(tmp_path, hook, schedule)
    # means of two: 1, 1, 1.05, 1.25: the last is 1.25 times that of two epochs before
    assert [row['epoch'] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[-1]['collapse']['eigenvalue'] == 1.4
    assert load_genotype(tmp_path).ops == ('nor_conv_1x1',) * 6
    text = log_text(tmp_path)
    assert 'has grown 1.25 times in 2 epochs; RobustDARTS keeps the genotype of epoch 3' in text


def test_without_stop_it_only_warns(tmp_path):
    hook = Growing(eigenvalue=True, window=2, delta=2, factor=1.2, start_epoch=6)
    rows = run(tmp_path, hook, [(SKIP, 1.0)] * 8)
    assert len(rows) == 8
    warned = log_text(tmp_path).count('has grown')
    assert warned == 3  # epochs 6, 7 and 8; 5 is before start_epoch
    assert load_genotype(tmp_path).ops == ('skip_connect',) * 6


def test_the_eigenvalue_of_a_real_search_changes_nothing_else(tmp_path):
    logs = []
    for name, hooks in (('without', []), ('with', [CollapseHook(eigenvalue=True, iterations=8)])):
        runner = digits_runner(tmp_path / name, {'train_cfg.max_epochs': 2}, hooks=hooks)
        runner.train()
        lines = (tmp_path / name / 'search_log.jsonl').read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        found = [row.pop('collapse') for row in rows if 'collapse' in row]
        for row in rows:
            for key in ('time', 'memory', 'data_time'):
                row.pop(key, None)
        logs.append(rows)
    assert logs[0] == logs[1]
    assert len(found) == 2 and all(abs(f['eigenvalue']) > 0 for f in found)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(max_skips=-1), 'max_skips must be an integer, 0 or more, but is -1'),
        (dict(window=0), 'window must be an integer, 1 or more, but is 0'),
        (dict(factor=0), 'factor must be positive, but is 0'),
        (dict(stop=True), 'stop needs eigenvalue=True, by which it decides'),
    ],
)
def test_collapse_that_does_not_fit(kwargs, message):
    with pytest.raises(UserError, match=message):
        CollapseHook(**kwargs)
