"""The genotype of every epoch, in files and in the log."""

from __future__ import annotations

import json
import os
import re
import socket
import time

import pytest
import torch
from helpers import TOOLS, digits_runner, log_text
from mmengine.config import Config
from mmengine.hooks import Hook

from rdarts.architect.discretizers import Argmax
from rdarts.engine.facts import Facts
from rdarts.errors import UserError
from rdarts.genotypes import count_skips, load_genotype
from rdarts.registry import DISCRETIZERS

NONE, SKIP, ONE, THREE, POOL = range(5)


class SetAlpha(Hook):
    """Puts the strongest candidate of every edge, with ``none`` as the second or first."""

    priority = 'ABOVE_NORMAL'

    def __init__(self, strongest, none):
        self.strongest, self.none = strongest, none

    def after_train_epoch(self, runner):
        alpha = runner.model.backbone.arch_parameters['cell']
        with torch.no_grad():
            alpha.zero_()
            alpha[range(6), self.strongest] = 1.0
            alpha[:, NONE] = self.none


def rows(work_dir, kind):
    lines = (work_dir / 'search_log.jsonl').read_text().splitlines()
    return [row for row in map(json.loads, lines) if row['kind'] == kind]


@pytest.mark.slow
def test_a_search_that_goes_on_has_no_genotype_of_an_earlier_epoch(tmp_path):
    digits_runner(tmp_path, {'train_cfg.max_epochs': 1}).train()
    earlier = (tmp_path / 'genotype.json').read_bytes()
    seen = []

    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.append((tmp_path / 'genotype.json').exists())

    options = {'train_cfg.max_epochs': 2}
    digits_runner(tmp_path, options, hooks=[Look()], resume=True).train()
    assert seen == [False, False]
    assert (tmp_path / 'genotypes/ended_at_epoch_1.json').read_bytes() == earlier
    assert load_genotype(tmp_path, 'nas_bench_201') == load_genotype(
        tmp_path / 'genotypes/epoch_2.json', 'nas_bench_201'
    )
    # nothing is left to do: nothing changes
    digits_runner(tmp_path, options, resume=True).train()
    assert not (tmp_path / 'genotypes/ended_at_epoch_2.json').exists()
    assert (tmp_path / 'genotype.json').exists()


@pytest.mark.slow
def test_files_log_and_final_genotype_are_those_of_alpha(tmp_path):
    hooks = [SetAlpha([SKIP, THREE, POOL, ONE, SKIP, THREE], 0.5)]
    runner = digits_runner(tmp_path, {'train_cfg.max_epochs': 2}, hooks=hooks)
    runner.train()
    text = (
        '|skip_connect~0|+|nor_conv_3x3~0|avg_pool_3x3~1|'
        '+|nor_conv_1x1~0|skip_connect~1|nor_conv_3x3~2|'
    )
    names = ['genotype.json', 'genotypes/epoch_1.json', 'genotypes/epoch_2.json']
    for name in names:
        genotype = load_genotype(tmp_path / name, 'nas_bench_201')
        assert genotype.to_string() == text and genotype.space == 'nas_bench_201'
        assert count_skips(genotype) == 2
    assert len({(tmp_path / name).read_bytes() for name in names}) == 1
    assert sorted(os.listdir(tmp_path / 'genotypes')) == ['epoch_1.json', 'epoch_2.json']
    for number, row in enumerate(rows(tmp_path, 'epoch'), 1):
        assert (row['genotype'], row['skip_connections'], row['epoch']) == (text, 2, number)
    assert f'Genotype of epoch 2: {text} (2 skip connections)' in log_text(tmp_path)


@pytest.mark.slow
def test_two_searches_of_one_seed_write_the_same_bytes(tmp_path, monkeypatch):
    for name in ('one', 'two'):
        monkeypatch.setattr(socket, 'gethostname', lambda name=name: f'host-{name}')
        digits_runner(tmp_path / name, {'train_cfg.max_epochs': 2}).train()
    for name in ('genotype.json', 'genotypes/epoch_1.json', 'genotypes/epoch_2.json'):
        data = (tmp_path / 'one' / name).read_bytes()
        assert data == (tmp_path / 'two' / name).read_bytes()
        text = data.decode()
        for told in (str(tmp_path), os.path.expanduser('~'), 'host-', time.strftime('%Y')):
            assert told not in text
        assert not re.search(r'\d\d:\d\d', text)
        assert set(json.loads(text)) >= {'space'}


@pytest.mark.slow
@pytest.mark.parametrize('discretizer', ['Argmax', dict(type='rdarts.Argmax', allow_none=True)])
def test_none_may_be_derived_by_default(tmp_path, discretizer):
    hooks = [SetAlpha([SKIP] * 6, 2.0)]
    options = {'default_hooks.genotype.discretizer': discretizer}
    digits_runner(tmp_path, options, hooks=hooks).train()
    (row,) = rows(tmp_path, 'epoch')
    assert row['genotype'].count('none') == 6 and row['skip_connections'] == 0


@pytest.mark.slow
def test_none_is_left_out_where_the_option_says_so(tmp_path):
    hooks = [SetAlpha([SKIP, THREE, SKIP, SKIP, ONE, SKIP], 2.0)]
    options = {'default_hooks.genotype.discretizer': dict(type='Argmax', allow_none=False)}
    digits_runner(tmp_path, options, hooks=hooks).train()
    genotype = load_genotype(tmp_path / 'genotype.json')
    assert 'none' not in genotype.to_string()
    assert count_skips(genotype) == rows(tmp_path, 'epoch')[0]['skip_connections'] == 4


@DISCRETIZERS.register_module()
class WithAnother(Argmax):
    """Beside the strongest candidates those other than ``none``."""

    def others(self, arch_parameters, space):
        return dict(without_none=Argmax(allow_none=False)(arch_parameters, space))


@pytest.mark.slow
def test_what_a_rule_derives_beside_the_genotype_is_written_once_the_search_has_ended(tmp_path):
    hooks = [SetAlpha([SKIP] * 6, 2.0)]
    options = {'default_hooks.genotype.discretizer': 'WithAnother', 'train_cfg.max_epochs': 1}
    other = tmp_path / 'genotypes' / 'without_none.json'
    seen = []

    class Look(Hook):
        def after_train_epoch(self, runner):
            seen.append(other.exists())

    digits_runner(tmp_path, options, hooks=[*hooks, Look()]).train()
    assert seen == [False]
    assert count_skips(load_genotype(other, 'nas_bench_201')) == 6
    assert count_skips(load_genotype(tmp_path)) == 0
    # while the search goes on, what is there is of the alpha of its end no more
    options['train_cfg.max_epochs'] = 2
    digits_runner(tmp_path, options, hooks=[*hooks, Look()], resume=True).train()
    assert seen == [False, False] and other.exists()


def test_an_unknown_rule_stops_before_anything_is_built(tmp_path):
    with pytest.raises(UserError, match="unknown discretizer 'ArgMax' .*did you mean 'Argmax'"):
        digits_runner(tmp_path, {'default_hooks.genotype.discretizer': 'ArgMax'})


def test_only_the_first_rank_writes(tmp_path, monkeypatch):
    monkeypatch.setattr('rdarts.hooks.genotype.is_main_process', lambda: False)
    runner = digits_runner(tmp_path)
    runner.train()
    assert not (tmp_path / 'genotype.json').exists() and not (tmp_path / 'genotypes').exists()
    assert Facts.of(runner).genotype.space == 'nas_bench_201'


@pytest.mark.slow
def test_a_darts_space_has_its_own_rule(tmp_path):
    base = Config.fromfile(TOOLS.parent / 'configs/_base_/models/darts_supernet.py')
    model = base.model
    model.backbone.update(channels=2, num_cells=3, execution='fused')
    model.head.update(in_channels=32, num_classes=10)
    digits_runner(tmp_path, model=model).train()
    genotype = load_genotype(tmp_path / 'genotype.json', 'darts')
    assert [len(node) for node in genotype.nodes['normal']] == [2, 2, 2, 2]
    (row,) = rows(tmp_path, 'epoch')
    assert row['genotype'].startswith('Genotype(normal=[')
    assert set(row['entropy']) == {'normal', 'reduce'} and len(row['entropy']['normal']) == 14


def test_a_rule_that_does_not_fit_the_space_is_refused_before_the_first_iteration(tmp_path):
    rule = {'default_hooks.genotype.discretizer': 'rdarts.Threshold'}
    runner = digits_runner(tmp_path, rule)
    with pytest.raises(UserError, match='^Threshold '):
        runner.train()
    assert runner.iter == 0
