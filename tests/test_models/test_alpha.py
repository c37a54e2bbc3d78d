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


def test_the_numbers_of_an_epoch():
    net = NASBench201Supernet(
        channels=2,
        cells_per_stage=1,
        relaxation=dict(type='rdarts.GumbelSoftmax', temperature=dict(points=[(0, 9), (8, 1)])),
        mixed_op=dict(type='rdarts.AuxiliarySkip', beta=dict(points=[(0, 1), (4, 0)])),
    )
    assert net.numbers() == dict(relaxation=dict(temperature=9), mixed_op=dict(beta=1))
    net.set_progress(2, 8)
    assert net.numbers() == dict(relaxation=dict(temperature=7), mixed_op=dict(beta=0.5))
    assert AlphaOwner('nas_bench_201').numbers() == {}


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


# Mixing weights of each cell by itself


def test_each_cell_has_a_shift_of_its_own():
    torch.manual_seed(0)
    net = NASBench201Supernet(channels=4, cells_per_stage=2, execution='plain').double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    before = net(x)[0]
    shifts = net.zero_shifts()
    assert len(shifts) == 6 and [set(shift) for shift in shifts] == 6 * [{'cell'}]
    alpha = net.arch_parameters['cell'].requires_grad_(True)
    for shift in shifts:
        shift['cell'].requires_grad_(True)
    with net.shifted(shifts):
        out = net(x)[0]
        mixings = net.cell_mixings()
    assert torch.equal(out, before)
    assert mixings[0] is not mixings[1]
    weights = alpha.softmax(-1)
    loss = (out * torch.randn_like(out)).sum()
    grads = torch.autograd.grad(loss, [alpha, *(shift['cell'] for shift in shifts)])
    # all cells share alpha, so that alpha's gradient is that of the sum of theirs
    (expected,) = torch.autograd.grad(weights, alpha, sum(grads[1:]))
    torch.testing.assert_close(grads[0], expected, rtol=1e-9, atol=1e-12)
    assert float((grads[1] - grads[2]).abs().max()) > 1e-3
    shared = net.cell_mixings()
    assert shared[0] is shared[1]


def test_a_shift_is_added_to_one_cell_alone():
    torch.manual_seed(0)
    net = NASBench201Supernet(channels=4, cells_per_stage=1, execution='fused').double()
    shifts = net.zero_shifts()
    shifts[1]['cell'][2, 3] = 0.25
    with net.shifted(shifts):
        moved = net.cell_mixings()
    shared = net.cell_mixings()
    # edge 2 leaves node 1: 1 -> 2
    difference = moved[1][1].weights - shared[1][1].weights
    assert difference.nonzero().tolist() == [[3]]
    assert float(difference[3]) == pytest.approx(0.25)
    assert torch.equal(moved[0][1].weights, shared[0][1].weights)


def test_a_network_that_does_not_tell_its_cells_apart():
    with pytest.raises(UserError, match='^AlphaOwner does not tell its cells apart'):
        AlphaOwner('nas_bench_201').zero_shifts()
