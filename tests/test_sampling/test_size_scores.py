"""Parameters, multiply-adds and measured seconds as scores."""

from __future__ import annotations

import itertools

import pytest
import torch
from golden_scores import SmallNet, batches, cell_net, expected

from rdarts.errors import UserError
from rdarts.registry import SCORES, build
from rdarts.sampling.scores import Candidate, latency


def score(config, network, given):
    return build(config, SCORES)(Candidate(network), given)


def test_parameters_are_golden():
    given = batches(8, 8)
    small = expected('scores_small_net')
    assert score('Params', SmallNet(), given) == small['params']
    cells = expected('scores_nb201_reduced')
    for index in ('1462', '6', '11613'):
        found = score('Params', cell_net(cells[index]['arch_str']), given)
        assert found == cells[index]['params']


def test_macs_are_products_of_sizes():
    """Of one image, whatever the batch; the network stays in training."""
    network = SmallNet()
    found = score('Macs', network, batches(8, 8))
    assert found == 64 * 3 * 8 * 9 + 16 * 8 * 12 * 9 + 16 * 12 * 16 + 16 * 10
    assert network.training and network[1].num_batches_tracked == 0


def test_latency_is_minus_the_median(monkeypatch):
    """Of the passes after the first ones, of as many images as it is told."""
    seconds = iter([9.0, 9.0, 1.0, 5.0, 2.0])
    clock = itertools.accumulate(
        itertools.chain.from_iterable((0.0, next(seconds)) for _ in range(5))
    )
    monkeypatch.setattr(latency.time, 'perf_counter', lambda: next(clock))
    network, seen = SmallNet(), []
    network.register_forward_pre_hook(lambda module, args: seen.append((module.training, args[0])))
    random = torch.get_rng_state()
    config = dict(type='Latency', batch_size=4, repeats=3, warmup=2)
    assert score(config, network, batches(8, 8)) == -2
    assert [mode for mode, _ in seen] == [False] * 5
    assert seen[0][1].shape == (4, 3, 8, 8) and seen[0][1].dtype == torch.float64
    assert network.training and network[1].num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), random)


def test_latency_on_a_device_of_its_own():
    network = SmallNet()
    weight = network[0].weight
    assert score(dict(type='Latency', device='cpu', repeats=1), network, batches(8, 8)) < 0
    assert network[0].weight is weight
    with pytest.raises(UserError, match="device 'gpu' of Latency: Expected one of cpu, cuda"):
        score(dict(type='Latency', device='gpu'), network, batches(8, 8))


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has CUDA')
def test_latency_without_the_device_is_one_line():
    with pytest.raises(UserError, match="device 'cuda' of Latency: "):
        score(dict(type='Latency', device='cuda'), SmallNet(), batches(8, 8))


@pytest.mark.parametrize('options', [dict(batch_size=0), dict(repeats=0), dict(warmup=-1)])
def test_numbers_of_latency_are_checked(options):
    with pytest.raises(UserError, match='Latency needs batch_size and repeats of 1 or more'):
        build(dict(type='Latency', **options), SCORES)
