"""ParZC: labels first, then the best by a predictor that reads scores of single layers."""

from __future__ import annotations

import copy
import functools
import math

import numpy as np
import pytest
import torch
from test_sampling import strategy_runs
from test_sampling.searched import small, space_of
from test_sampling.strategy_runs import convolutions, queries

from rdarts.errors import UserError
from rdarts.genotypes import parse_genotype
from rdarts.registry import PREDICTORS, SCORES, STRATEGIES, build
from rdarts.sampling.result import Result
from rdarts.sampling.strategies.parzc import _scaled

MIXER = dict(type='BayesianMixer', patches=2, patch=2, width=4, depth=1, epochs=3)
CONFIG = dict(type='ParZC', labels=3, pool=3, predictor=MIXER, batch_size=4, noise=True)
config = functools.cache(small)  # reading one takes longer than what is tested


class Last:
    """Predicts the sum of a vector; keeps what it learnt from."""

    learnt: list = []

    def __init__(self, random_state) -> None:
        self.random_state = random_state

    def fit(self, x, y):
        Last.learnt.append((x, y))

    def predict(self, x):
        return x.sum(1)


PREDICTORS.register_module(name='LastOfTheTests')(Last)


def prepared(name='nb201_digits', allowed=None, **options):
    cfg = config(name)
    return strategy_runs.prepared(dict(CONFIG, **options), space_of(cfg), allowed=allowed, cfg=cfg)


def told(strategy, count, answer=convolutions):
    return [genotype for genotype, _ in queries(strategy, answer, count)]


def resumed(strategy, name):
    return strategy_runs.resumed(strategy, CONFIG, strategy.space, config(name))


@pytest.mark.parametrize('name', ['nb201_digits', 'darts_c10'])
def test_resumed_it_asks_for_the_same(name):
    whole = told(prepared(name), 6)
    assert len({genotype.to_string() for genotype in whole}) == 6
    strategy = prepared(name)
    for k, genotype in enumerate(whole):
        if k in (1, 3):
            strategy = resumed(strategy, name)
        assert strategy.ask() == genotype
        if k in (0, 3, 5):
            strategy = resumed(strategy, name)  # between a question and its answer
        strategy.tell(genotype, Result(convolutions(genotype)))


def test_a_vector_has_the_scores_of_each_layer():
    strategy = prepared()
    cell = parse_genotype(
        '|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|avg_pool_3x3~0|skip_connect~1|none~2|',
        'nas_bench_201',
    )
    found = strategy.vector(cell)
    with strategy._networks.candidate(cell) as candidate:
        network, (batch,) = candidate.network, strategy._batches
        layers = [
            one for one in network.modules() if isinstance(one, (torch.nn.Conv2d, torch.nn.Linear))
        ]
        assert found.shape == (3, len(layers)) == (3, 1 + 3 * 2 + 2 * 3 + 1)
        loss = torch.nn.functional.cross_entropy(network(batch.images), batch.labels)
        weights = [layer.weight for layer in layers]
        grads = torch.autograd.grad(loss, weights, materialize_grads=True, allow_unused=True)
        flow = build('SynFlow', SCORES).per_layer(candidate, [batch])
    raw = np.array(
        [
            [grad.square().sum().sqrt().item() for grad in grads],
            [(w * g).abs().mean().item() for w, g in zip(weights, grads, strict=True)],
            [f.item() / w.numel() for f, w in zip(flow, weights, strict=True)],
        ]
    )
    low, high = raw.min(1, keepdims=True), raw.max(1, keepdims=True)
    np.testing.assert_allclose(found, (raw - low) / (high - low), rtol=1e-4, atol=1e-6)


def test_a_network_without_paths_has_no_scores():
    found = prepared().vector(
        parse_genotype('|none~0|+|none~0|none~1|+|none~0|none~1|none~2|', 'nas_bench_201')
    )
    assert np.isfinite(found).all() and (found[2] == 0).all()


@pytest.mark.filterwarnings('error')
def test_scores_that_are_no_numbers_are_0():
    nan = math.nan
    assert _scaled(np.array([nan, nan])).tolist() == [0, 0]
    assert _scaled(np.array([1, nan, 3, 2])).tolist() == [0, 0, 1, 0.5]


def test_labels_then_the_pool_in_the_order_of_the_prediction():
    Last.learnt.clear()
    strategy = prepared(predictor='LastOfTheTests')
    values = iter([1.0, math.nan, 3.0, *[0.0] * 3])
    found = told(strategy, 6, lambda genotype: next(values))
    ((x, y),) = Last.learnt
    assert x.shape[0] == 3 and x.min() == 0 and x.max() == 1
    raw = np.array([1, 1, 3])  # NaN counts as the lowest
    np.testing.assert_allclose(y, (raw - raw.mean()) / raw.std())
    # vectors are filled up with zeros at their end, row by row
    longest = max(strategy.vector(genotype).shape[1] for genotype in found)
    assert x.shape[1] == 3 * longest
    for row, genotype in zip(x, found, strict=False):
        vector = strategy.vector(genotype)
        np.testing.assert_array_equal(row.reshape(3, -1)[:, : vector.shape[1]], vector)
        assert not row.reshape(3, -1)[:, vector.shape[1] :].any()
    sums = [strategy.vector(genotype).sum() for genotype in found[3:]]
    assert sums == sorted(sums, reverse=True)
    assert len({genotype.to_string() for genotype in found}) == 6
    told(strategy, 1, lambda genotype: 0.0)  # where the pool is used up, a random one
    assert len(Last.learnt) == 1


def test_it_asks_for_nothing_that_is_not_allowed():
    strategy = prepared(allowed=lambda genotype: convolutions(genotype) <= 2)
    assert max(convolutions(genotype) for genotype in told(strategy, 6)) <= 2


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(labels=1), 'labels must be a whole number of at least 2, but is 1'),
        (dict(pool=0), 'pool must be a whole number of at least 1, but is 0'),
        (dict(scores=['NASWOT']), 'the score NASWOT has no value of a single layer'),
        (dict(scores=[]), 'scores must be'),
        (dict(predictor='Mixer'), "unknown predictor 'Mixer'"),
    ],
)
def test_bad_arguments_are_one_line(options, message):
    with pytest.raises(UserError, match=message):
        build(dict(CONFIG, **options), STRATEGIES)


def test_a_search_without_a_supernet_or_of_another_state_is_refused():
    strategy = prepared()
    with pytest.raises(UserError, match='have the sizes of its supernet'):
        build(CONFIG, STRATEGIES).prepare(strategy.space, np.random.default_rng(0))
    cfg = copy.deepcopy(config('nb201_digits'))
    cfg.budget = 3
    with pytest.raises(UserError, match='a budget of 3 is spent on the 3 labels, before anything'):
        build(CONFIG, STRATEGIES).prepare(strategy.space, np.random.default_rng(0), cfg)
    with pytest.raises(UserError, match="holds \\['some'\\], but needs .*: it is of another strat"):
        strategy.load_state_dict(dict(some=1))
    told(strategy, 2)
    with pytest.raises(UserError, match='is of another s|of the space'):
        prepared('darts_c10').load_state_dict(strategy.state_dict())
