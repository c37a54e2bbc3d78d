"""Multiply-adds against products of sizes, and what counting leaves as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rdarts.models import NASBench201Supernet
from rdarts.models.multiply_adds import count_macs


def test_count_macs():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
    net.append(nn.Flatten()).append(nn.Linear(4 * 8 * 8, 5))
    net.train()
    assert count_macs(net, torch.zeros(3, 8, 8)) == 3 * 4 * 9 * 64 + 4 * 64 * 5
    assert net.training


def test_count_macs_counts_the_plain_execution():
    supernet = NASBench201Supernet(channels=2, cells_per_stage=1)
    plain = count_macs(supernet, torch.zeros(3, 8, 8))
    seen = []
    supernet.register_forward_pre_hook(lambda module, args: seen.append(module.execution))
    supernet.execution = 'fused'
    assert count_macs(nn.Sequential(supernet), torch.zeros(3, 8, 8)) == plain > 0
    assert (seen, supernet.execution) == (['plain'], 'fused')
    with pytest.raises(RuntimeError):
        count_macs(supernet, torch.zeros(4, 8, 8))
    assert supernet.execution == 'fused' and supernet.training
