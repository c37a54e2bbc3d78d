"""What a run says before its first iteration, and what it no longer says."""

from __future__ import annotations

import importlib.util
import logging
import re

import pytest
from helpers import TOOLS, digits_config, digits_runner, log_text
from test_engine.alpha_owners import KINDS, SPACE, model_with

from rdarts.apis.dry_run import dry_run
from rdarts.configuration.load import load_config, set_genotype
from rdarts.configuration.notes import add_note
from rdarts.engine.first_lines import align
from rdarts.engine.runner import build_runner
from rdarts.genotypes import load_genotype
from rdarts.models import find_alpha_owner
from rdarts.results.log import read_search_log
from rdarts.utils.commands import short_path
from rdarts.utils.logging import quiet_log


def block(text: str) -> dict[str, str]:
    """The first lines, by name."""
    lines = text.partition('\ndata:')[2].splitlines()
    found = dict(data=lines[0].strip())
    for line in lines[1:]:
        name, colon, value = line.partition(': ')
        if ' - ' in name or not colon:
            break
        found[name] = value.strip()
    return found


@pytest.mark.slow
def test_a_search_says_what_it_computes(tmp_path):
    options = {'default_hooks.architect.start_epoch': 1, 'train_cfg.max_epochs': 2}
    runner = digits_runner(tmp_path, options)
    runner.train()
    text = log_text(tmp_path)
    found = block(text)
    size = sum(p.numel() for p in runner.model.parameters()) - 30
    assert found['data'] == 'Digits, 10 classes'
    assert found['images'] == (
        "16 for the weights, 16 for alpha, 16 for validation (alpha's); batches of 8"
    )
    assert found['network'] == (
        f'NASBench201Supernet, {size:,} parameters and 30 alphas, execution fused'
    )
    assert found['space'] == 'nas_bench_201: 6 edges (cell)'
    assert found['method'] == ('BERArchitectHook, first order, ber x 0.75, alpha rests for 1 epoch')
    assert found['epochs'] == '2 of 2 iterations, of a schedule of 100'
    assert found['device'] == 'cpu' and found['threads'].startswith('1 thread (')
    assert found['writes to'] == short_path(tmp_path)
    assert text.index('\ndata:') < text.index('Epoch(train)')
    head = text.partition('\ndata:')[0].splitlines()[-1]
    assert re.fullmatch(r'.* - INFO - The search \w+ begins', head)
    # once, however many epochs and checkpoints
    assert 'Exp name' not in text and 'Loads checkpoint by' not in text


@pytest.mark.parametrize('kind', KINDS)
def test_a_search_whose_alpha_is_no_supernet_s(tmp_path, kind):
    with model_with(kind) as model:
        runner = digits_runner(tmp_path, model=model)
        (before,) = [a.clone() for a in find_alpha_owner(runner.model).arch_parameters.values()]
        runner.train()
    (alpha,) = find_alpha_owner(runner.model).arch_parameters.values()
    assert alpha.shape == (1, 2) and (alpha != before).all()
    found = block(log_text(tmp_path))
    size = sum(p.numel() for p in runner.model.parameters()) - 2
    assert found['network'] == f'{kind.__name__}, {size:,} parameters and 2 alphas'
    assert found['space'] == 'one: 1 edge (layerwise)'
    assert len(load_genotype(tmp_path, SPACE).layers) == 1
    (row,) = read_search_log(tmp_path, 'epoch')
    assert len(row['weights']['layerwise']) == 1 and 'execution' not in row


@pytest.mark.parametrize('kind', KINDS)
def test_a_dry_run_counts_alpha_wherever_it_is(tmp_path, kind):
    cfg = digits_config(tmp_path)
    with model_with(kind) as model:
        cfg.model = model
        found = dry_run(cfg)
    assert found['alphas'] == 2 and found['parameters'] == 8 * (3 + 27) + 16 + 90


def test_a_retraining_and_what_was_filled_in(tmp_path):
    cfg = load_config(TOOLS.parent / 'configs' / 'retrain' / 'nb201_digits.py')
    set_genotype(cfg, '|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|')
    cfg.train_cfg.update(max_epochs=1, val_interval=2)
    cfg.default_hooks.checkpoint.interval = 2
    cfg.train_dataloader.dataset.dataset.limit = 8
    cfg.train_dataloader.batch_size = 8
    cfg.work_dir, cfg.experiment_name = str(tmp_path), 'retraining_first_lines'
    add_note(cfg, 'head.in_channels = 64')
    add_note(cfg, 'head.num_classes = 10')
    build_runner(cfg).train()
    text = log_text(tmp_path)
    found = block(text)
    assert found['images'] == '8 for training, 359 for validation; batches of 8'
    assert found['network'].startswith('NASBench201Net, ') and 'alphas' not in found['network']
    assert found['genotype'].startswith('|nor_conv_1x1~0|+|none~0|')
    assert 'method' not in found and 'space' not in found
    assert '\nfilled in:  ' in text  # of the config itself, too
    assert ' head.in_channels = 64; head.num_classes = 10\n' in text
    assert ' - INFO - The training retraining_first_lines begins\ndata:' in text


def test_names_and_values_stand_below_each_other():
    assert align([('a', '1'), ('abc', '2'), ('', '3')]) == 'a:    1\nabc:  2\n      3'


@pytest.mark.parametrize(
    ('message', 'logged'),
    [
        ('Exp name: x', False),
        ('Using env variable `RDARTS_DATA` with value of x to replace item in config.', False),
        ('Using env variable `MINE` with value of x to replace item in config.', True),
        ('Loads checkpoint by point backend: local backend from path: x', False),
        ('Line NMS is not compiled. Most likely when installing the package', True),
        ('Epoch(train) [1][10/11]', True),
    ],
)
def test_what_is_logged(message, logged, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    record = logging.LogRecord('x', logging.WARNING, 'x', 1, message, (), None)
    assert quiet_log(record) is logged
    if 'NMS' in message:
        assert 'make install-detection' in record.getMessage()
        assert 'CUDA' not in record.getMessage() and 'mim' not in record.getMessage()


def test_nothing_of_nms_where_the_operators_are_built(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object())
    text = 'Line NMS is not compiled. Most likely ...'
    record = logging.LogRecord('x', logging.WARNING, 'x', 1, text, (), None)
    assert quiet_log(record) is False
