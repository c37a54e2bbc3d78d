"""ZiCo."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from golden_scores import SmallNet, batches, cell_net, expected
from torch import nn

from rdarts.errors import UserError
from rdarts.sampling.scores import Candidate
from rdarts.sampling.scores.zico import ZiCo

SMALL, CELLS = expected('scores_small_net'), expected('scores_nb201_reduced')


def test_a_small_net():
    found = ZiCo(signed=True)(Candidate(SmallNet()), batches(8, 8))
    assert found == pytest.approx(SMALL['zico'], rel=1e-7)


@pytest.mark.parametrize('index', CELLS)
def test_cells(index):
    case = CELLS[index]
    found = ZiCo(signed=True)(Candidate(cell_net(case['arch_str'])), batches(8, 16))
    assert found == pytest.approx(case['zico'], rel=1e-7)


def test_a_cell_in_the_full_network():
    net = cell_net(CELLS['9930']['arch_str'], 16, 5)
    found = ZiCo(signed=True)(Candidate(net), batches(16, 32))
    assert found == pytest.approx(expected('scores_nb201_full_9930')['zico'], rel=1e-7)


def test_the_variance_of_sizes_is_the_paper_s():
    """By backward passes, weight by weight; the head's bias and batch norms have no say."""
    net, three = SmallNet(), [*batches(8, 8), batches(12, 8)[0]]
    total = 0.0
    for layer in (net[0], net[3], net[6], net[-1]):
        sizes = []
        for batch in three:
            net.zero_grad()
            F.cross_entropy(net(batch.images), batch.labels).backward()
            sizes.append(layer.weight.grad.abs())
        variance = sum((size - sum(sizes) / 3) ** 2 for size in sizes) / 3
        total += (sum(sizes) / 3 / variance.sqrt()).sum().log().item()
    net.zero_grad()
    net[3].weight.requires_grad_(False)  # has its say all the same
    before = copy.deepcopy(dict(net.named_parameters()))
    with torch.no_grad():
        assert ZiCo()(Candidate(net), three) == pytest.approx(total, rel=1e-9)
    assert all(torch.equal(before[name], weight) for name, weight in net.named_parameters())
    assert all(weight.grad is None for weight in net.parameters())
    assert not net[3].weight.requires_grad


def test_gradients_that_do_not_vary_have_no_say():
    batch = batches(8, 8)[0]
    assert ZiCo()(Candidate(SmallNet()), [batch, batch]) == 0


def test_bad_input_is_one_line():
    with pytest.raises(UserError, match='2 batches or more, but got 1'):
        ZiCo()(Candidate(SmallNet()), batches(8, 8)[:1])
    with pytest.raises(UserError, match='Flatten has neither a convolution nor a linear layer'):
        ZiCo()(Candidate(nn.Flatten()), batches(8, 8))
