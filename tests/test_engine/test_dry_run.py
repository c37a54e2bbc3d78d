from __future__ import annotations

import re

import pytest
import torch
from helpers import digits_config, run_tool, write_small_search
from torch import nn

from rdarts.engine.dry_run import count_macs, dry_run


def test_count_macs():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
    net.append(nn.Flatten()).append(nn.Linear(4 * 8 * 8, 5))
    net.train()
    assert count_macs(net, torch.zeros(3, 8, 8)) == 3 * 4 * 9 * 64 + 4 * 64 * 5
    assert net.training


def test_dry_run_in_process(tmp_path, capsys):
    cfg = digits_config(tmp_path / 'run', {'train_cfg.max_epochs': 7}, images=96)
    before = cfg.to_dict()
    found = dry_run(cfg)
    assert cfg.to_dict() == before
    assert not (tmp_path / 'run').exists()
    assert found['alphas'] == 30
    # C 2, N 1: stem 3 x 2 x 9 + 4; cells 6 C^2 (9 + 1) at 2, 4 and 8; two residual blocks of
    # 3x3, 3x3 and 1x1 with two batch norms; the last batch norm; the head
    cells = sum(6 * c * c * 10 for c in (2, 4, 8))
    blocks = sum(a * 2 * a * 9 + 4 * a * a * 9 + 2 * a * a + 8 * a for a in (2, 4))
    assert found['parameters'] == 58 + cells + blocks + 16 + 90
    assert found['memory_mb'] > 100
    assert found['seconds_per_iteration'] > 0
    # 48 images in each half: 6 iterations an epoch
    least = 7 * 6 * found['seconds_per_iteration']
    assert least < found['expected_seconds'] < 100 * least
    text = capsys.readouterr().out
    assert f'{found["parameters"]:,} and 30 alphas' in text
    assert f'{found["macs"]:,} a (3, 32, 32) image' in text
    assert 'for 7 epochs of 6 iterations' in text


@pytest.mark.parametrize('resume', [False, True])
def test_dry_run_writes_nothing(resume, tmp_path):
    small = write_small_search(tmp_path, images=48, batch_size=8)
    before = sorted(tmp_path.rglob('*'))
    args = ['--resume'] if resume else []
    done = run_tool(
        ['train.py', small, '--work-dir', tmp_path / 'run', '--dry-run', *args], cwd=tmp_path
    )
    assert done.code == 0, done.err
    for pattern in (
        r'parameters: [\d,]+ and 30 alphas\n',
        r'MACs: +[\d,]+ a \(3, 32, 32\) image',
        r'memory: +[\d,]+ MB peak\n',
        r'iteration: +[\d.]+ s\n',
        r'expected: +\d+:\d\d:\d\d for 3 epochs of 3 iterations\n',
    ):
        assert re.search(pattern, done.out), done.out
    assert sorted(tmp_path.rglob('*')) == before
