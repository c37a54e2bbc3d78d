"""WeakNAS's rounds, and its predictors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_sampling.strategy_runs import one_edge, prepared, queries

from rdarts.registry import PREDICTORS, build
from rdarts.search_spaces import build_space

NB201 = build_space('nas_bench_201')


class Counting:
    """Expects as much of a genotype as it has 3x3 convolutions, and keeps what it learnt from."""

    learnt: list[tuple[np.ndarray, np.ndarray]] = []

    def __init__(self, random_state):
        self.seed = random_state

    def fit(self, x, y):
        self.learnt.append((x, y))

    def predict(self, x):
        return x.reshape(len(x), 6, 5)[..., NB201.candidates.index('nor_conv_3x3')].sum(1)


@pytest.fixture
def counting():
    PREDICTORS.import_from_location()
    PREDICTORS.register_module(name='Counting', module=Counting)
    Counting.learnt.clear()
    yield Counting
    PREDICTORS.module_dict.pop('Counting')


def test_it_asks_for_some_of_those_that_the_predictor_expects_most_of(counting):
    config = dict(type='WeakNAS', predictor='Counting', initial=6, per_round=5, top=25)
    values = iter([3.0, math.nan, 1.0, 2.0, math.inf, 4.0, *[5.0] * 12])
    found = [
        genotype for genotype, _ in queries(prepared(config, NB201), lambda _: next(values), 18)
    ]
    assert len({one.ops for one in found}) == 18
    # one cell has six of them, 24 have five
    assert all(one.ops.count('nor_conv_3x3') >= 5 for one in found[6:11])
    assert sum(one.ops.count('nor_conv_3x3') == 4 for one in found[6:]) < 12
    x, y = counting.learnt[0]
    assert (x == [one.vector(NB201) for one in found[:6]]).all()
    known = np.array([3, 1, 1, 2, 1, 4])  # what is not finite is as the lowest
    np.testing.assert_allclose(y, (known - known.mean()) / known.std())
    assert [len(y) for _, y in counting.learnt] == [6, 11, 16]


def test_whether_a_genotype_is_allowed_is_asked_of_few(counting):
    asked = []

    def few(genotype) -> bool:
        asked.append(genotype.ops)
        return genotype.ops.count('nor_conv_3x3') <= 4

    config = dict(type='WeakNAS', predictor='Counting', initial=6, per_round=5, top=25)
    strategy = prepared(config, NB201, allowed=few)
    found = [genotype for genotype, _ in queries(strategy, lambda _: 1.0, 11)]
    assert all(one.ops.count('nor_conv_3x3') == 4 for one in found[6:])
    assert len(set(asked)) < 80  # 25 that are too much, 25 of the best, the first


def test_values_that_are_all_equal(counting):
    config = dict(type='WeakNAS', predictor='Counting', initial=2)
    queries(prepared(config, NB201), lambda _: math.nan, 3)
    assert counting.learnt[0][1].tolist() == [0, 0]


def test_a_space_that_was_evaluated_as_a_whole():
    space = one_edge('skip_connect', 'nor_conv_3x3')
    config = dict(type='WeakNAS', predictor=dict(type='RandomForest', trees=2), initial=1)
    found = queries(prepared(config, space), lambda one: float(len(one.ops[0])), 6)
    assert len({genotype.ops for genotype, _ in found[:2]}) == 2


@pytest.mark.parametrize(
    'predictor',
    [dict(type='RandomForest', trees=20), dict(type='MLP', widths=(50, 50), iterations=200)],
)
def test_predictors_learn_and_follow_their_seed(predictor):
    draws = np.random.default_rng(0)
    x, x_other = draws.random((2, 200, 5))
    y, y_other = (rows @ [1, -2, 0, 0.5, 0] for rows in (x, x_other))
    found = [
        build(predictor, PREDICTORS, random_state=seed).fit(x, y).predict(x_other)
        for seed in (0, 0, 1)
    ]
    assert (found[0] == found[1]).all() and (found[0] != found[2]).any()
    assert np.corrcoef(found[0], y_other)[0, 1] > 0.85


def test_the_defaults_are_the_published_ones():
    forest = build('RandomForest', PREDICTORS, random_state=0)
    assert (forest.n_estimators, forest.max_depth) == (1000, 10)
    perceptron = build('MLP', PREDICTORS, random_state=0)
    assert (perceptron.hidden_layer_sizes, perceptron.max_iter) == ((1000,) * 4, 100)
