"""What owns alpha: how it is found, the weights it expects, and the phase of a relaxation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rdarts.errors import UserError
from rdarts.models import AlphaOwner, NASBench201Supernet, find_alpha_owner
from rdarts.registry import RELAXATIONS


def test_find_alpha_owner():
    net = NASBench201Supernet(channels=2, cells_per_stage=1)
    assert find_alpha_owner(nn.ModuleDict(dict(backbone=net))) is net
    own = AlphaOwner('nas_bench_201')
    assert find_alpha_owner(nn.ModuleDict(dict(network=nn.Linear(1, 1), alpha=own))) is own
    weights = own.expected_weights()['cell']
    assert weights.shape == (6, 5) and weights.dtype == torch.float64
    with pytest.raises(UserError, match='needs one owner of alpha.* Linear has 0'):
        find_alpha_owner(nn.Linear(1, 1))
    with pytest.raises(UserError, match='ModuleList has 2'):
        find_alpha_owner(nn.ModuleList([net, NASBench201Supernet(channels=2)]))


# The phase of a relaxation


@pytest.fixture
def recorded():
    phases = []

    class Record(RELAXATIONS.get('Softmax')):
        def forward(self, arch_parameters, space, phase):
            phases.append(phase)
            return super().forward(arch_parameters, space, phase)

    RELAXATIONS.register_module(name='Record', module=Record)
    yield phases
    RELAXATIONS.module_dict.pop('Record')


def test_relaxations_are_told_the_phase(recorded):
    net = NASBench201Supernet(channels=2, cells_per_stage=1, relaxation='rdarts.Record')
    x = torch.randn(2, 3, 8, 8)
    net(x)
    with net.alpha_phase():
        net(x)
    net(x)
    net.eval()
    net(x)
    with net.alpha_phase():
        net(x)
    net.train()
    with pytest.raises(ZeroDivisionError), net.alpha_phase():
        raise ZeroDivisionError
    net(x)
    assert recorded == ['weights', 'alpha', 'weights', 'eval', 'eval', 'weights']
