"""Edges that are decided early, as DSNAS's config asks for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from golden import assert_close, double, golden
from helpers import digits_runner, log_text

from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.hooks import EarlyFixHook
from rdarts.models import AlphaOwner, find_alpha_owner
from rdarts.registry import HOOKS
from rdarts.search_spaces import build_space

OPS = ['none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3']


def owner_of(alpha):
    """An owner of one cell, whose node i reads node i - 1 alone."""
    edges = [(i, i + 1, OPS) for i in range(len(alpha))]
    cell = dict(num_nodes=len(alpha) + 1, edges=edges, output='last')
    space = dict(type='CellSpace', name='chain', cells=dict(cell=cell), discretizer='Argmax')
    owner = AlphaOwner(build_space(space)).double()
    owner.arch_parameters['cell'].data.copy_(alpha)
    return owner


def test_edges_are_fixed_as_published(monkeypatch):
    given, expected, tolerance = golden('dsnas', 'early_fix')
    cfg = load_config(configs_folder() / 'search' / 'dsnas_nb201_c10.py')
    hook = HOOKS.build(cfg.default_hooks.early_fix)
    assert hook.threshold == given['threshold']
    owner = owner_of(double(given['log_alpha']))
    first = owner.expected_weights()['cell'].sort(-1, descending=True).values
    assert_close(first[:, 0] - first[:, 1], expected['gap'], tolerance)
    said = []
    runner = SimpleNamespace(model=owner, logger=SimpleNamespace(info=said.append))
    hook.before_train_iter(runner, 1)  # within an epoch nothing is fixed
    assert all(sum(edge) == 4 for edge in owner.alive['cell'])
    hook.before_train_iter(runner, 0)
    for edge, alive in enumerate(owner.alive['cell']):
        if str(edge) in expected['fixed']:
            assert alive == [k == expected['fixed'][str(edge)] for k in range(4)]
        else:
            assert alive == [True] * 4
    assert said == [
        'edge cell, 1 -> 2 is fixed to none',
        'edge cell, 3 -> 4 is fixed to nor_conv_3x3',
    ]
    hook.before_train_iter(runner, 0)  # what is fixed stays
    assert len(said) == 2


def test_a_search_fixes_edges_and_resumes_with_them(tmp_path):
    def run(name, **keys):
        options = {
            'train_cfg.max_epochs': 3,
            'default_hooks.early_fix.threshold': 0.05,
            'arch_optimizer.lr': 0.2,
            'default_hooks.checkpoint.iter_interval': 1,
            'default_hooks.checkpoint.max_keep_ckpts': -1,
        }
        runner = digits_runner(tmp_path / name, options, config='dsnas_nb201_digits', **keys)
        runner.train()
        return find_alpha_owner(runner.model)

    whole = run('whole')
    alive = whole.alive['cell']
    fixed = [edge for edge, flags in enumerate(alive) if sum(flags) == 1]
    assert fixed and 'is fixed to' in log_text(tmp_path / 'whole')
    for iteration in (5, 8):
        again = run('again', resume=str(tmp_path / 'whole' / f'iter_{iteration}.pth'))
        assert again.alive == whole.alive
        for key, value in whole.state_dict().items():
            assert torch.equal(again.state_dict()[key], value)


@pytest.mark.parametrize('threshold', [0, 1, -0.1, 'much', True])
def test_thresholds(threshold):
    with pytest.raises(UserError, match='EarlyFixHook: threshold must be between 0 and 1'):
        EarlyFixHook(threshold)
