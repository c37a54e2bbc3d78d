"""Runs as the tools start them: what their configs are, what a search prints, a test's figures."""

from __future__ import annotations

import json

import pytest
import torch
from helpers import DIGITS, write_retrained, write_small_search

from rdarts.apis.runs import (
    ONLY_TRAINING,
    configure_test,
    configure_training,
    evaluate,
    train,
)
from rdarts.checkpoint.directory import find_checkpoint
from rdarts.errors import UserError
from rdarts.genotypes import parse_genotype
from rdarts.utils.folder_lock import FolderLock

NB201 = '|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|'


def test_what_is_given_stands_in_the_config(tmp_path):
    cfg = configure_training(
        DIGITS,
        {'randomness.seed': 3, 'model.backbone.channels': 4},
        work_dir=tmp_path / 'run',
        amp='bf16',
        deterministic=True,
        new_head=True,
    )
    assert cfg.work_dir == str(tmp_path / 'run') and not (tmp_path / 'run').exists()
    assert (cfg.randomness.seed, cfg.randomness.deterministic) == (3, True)
    assert cfg.optim_wrapper.type == 'rdarts.BFloat16OptimWrapper'
    assert cfg.new_head and cfg.model.head.in_channels == 16
    cfg = configure_training(DIGITS, seed=5)
    assert cfg.randomness.seed == 5 and not cfg.new_head
    assert cfg.work_dir == f'work_dirs/{DIGITS.stem}'


def test_what_is_compiled_stands_in_the_config():
    assert 'compile' not in configure_training(DIGITS)
    assert configure_training(DIGITS, compiled=True).compile is True
    assert configure_training(DIGITS, compiled='eager').compile == dict(backend='eager')
    assert configure_training(DIGITS, cuda_graph=True).compile == dict(mode='reduce-overhead')
    with pytest.raises(UserError, match="compile.backend must be one of .*, but is 'egaer'"):
        configure_training(DIGITS, compiled='egaer')


def test_a_search_says_what_it_found_and_what_comes_next(tmp_path, capsys):
    config = write_small_search(tmp_path, images=16)
    cfg = configure_training(config, {'train_cfg.max_epochs': 1}, work_dir=tmp_path / 'run')
    cfg.experiment_name = tmp_path.name
    train(cfg)
    lines = capsys.readouterr().out.splitlines()
    names = ('genotype: ', 'saved in: ', 'report:   ', 'next:     ')
    said = {name: line for name in names for line in lines if line.startswith(name)}
    assert set(said) == set(names)
    saved = parse_genotype((tmp_path / 'run' / 'genotype.json').read_text(encoding='utf-8'))
    assert said['genotype: '].removeprefix('genotype: ') == saved.to_string()
    assert 'compare_cells.py' in said['next:     ']
    FolderLock(tmp_path / 'run').release()  # nobody holds it any more


def test_the_figures_of_a_checkpoint(tmp_path, capsys):
    options = {'model.backbone.channels': 4, 'model.head.in_channels': 16}
    run = write_retrained(tmp_path / 'run', 'nb201_digits', NB201, options)
    cfg = configure_test(run / 'config.py', run)
    assert cfg.load_from == str(find_checkpoint(run)) and cfg.work_dir == str(run / 'test')
    assert all(cfg[key] is None for key in ONLY_TRAINING)
    assert not (run / 'test').exists()
    cfg.experiment_name = tmp_path.name
    figures = evaluate(cfg, tmp_path / 'figures.json')
    assert json.loads((tmp_path / 'figures.json').read_text()) == figures
    assert 0 <= figures['accuracy/top1'] <= 100
    assert f'accuracy/top1: {figures["accuracy/top1"]:.4f}' in capsys.readouterr().out


def test_tests_that_are_refused(tmp_path):
    options = {'model.backbone.channels': 4, 'model.head.in_channels': 16}
    run = write_retrained(tmp_path / 'run', 'nb201_digits', NB201, options)
    (tmp_path / 'empty').mkdir()
    no_test = dict.fromkeys(('test_dataloader', 'test_cfg', 'test_evaluator'))
    for args, message in (
        ((run / 'config.py', tmp_path / 'gone.pth'), 'checkpoint not found: '),
        ((run / 'config.py', tmp_path / 'empty'), 'no checkpoint in '),
        ((run / 'config.py', run, no_test), 'has no test_dataloader'),
    ):
        with pytest.raises(UserError, match=message):
            configure_test(*args)
    torch.save(dict(state_dict={}), run / 'epoch_1_iter_1.pth')
    with pytest.raises(UserError, match='does not fit this network'):
        evaluate(configure_test(run / 'config.py', run))
