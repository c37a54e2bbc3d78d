"""Optuna's samplers as strategies."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from test_sampling.strategy_runs import (
    check_resumed_after_any_query,
    likes_convolutions,
    prepared,
    queries,
)

from rdarts.errors import UserError
from rdarts.registry import STRATEGIES, build
from rdarts.search_spaces import build_space

pytest.importorskip('optuna', reason='Optuna is not installed')

NB201 = build_space('nas_bench_201')
TPE = dict(type='Optuna', options=dict(n_startup_trials=5))
CONFIGS = dict(
    tpe=TPE,
    multivariate=dict(type='Optuna', options=dict(n_startup_trials=5, multivariate=True)),
    gp=dict(type='Optuna', sampler='GPSampler', options=dict(n_startup_trials=14)),
    random=dict(type='Optuna', sampler='RandomSampler'),
)


@pytest.mark.parametrize(
    ('name', 'space'),
    [*((name, 'nas_bench_201') for name in CONFIGS), ('tpe', 'darts'), ('tpe', 'mobilenet_like')],
)
def test_resumed_after_any_query_it_asks_for_the_same(name, space):
    check_resumed_after_any_query(CONFIGS[name], build_space(space), 16)


def test_it_climbs():
    found = [value for _, value in queries(prepared(TPE, NB201), likes_convolutions, 60)]
    assert max(found) == 6 and np.nanmean(found[30:]) > 4  # of random cells: 2.4


def test_it_asks_for_nothing_that_is_not_allowed():
    strategy = prepared(TPE, NB201, allowed=lambda genotype: 'none' not in genotype.ops)
    found = queries(strategy, likes_convolutions, 30)
    assert not any('none' in genotype.ops for genotype, _ in found)


def test_what_is_not_finite_counts_as_the_lowest_so_far():
    strategy = prepared(TPE, NB201)
    values = iter([math.nan, 3.0, math.inf, 2.0, -math.inf, 4.0, math.nan])
    queries(strategy, lambda genotype: next(values), 7)
    assert [one['value'] for one in strategy.state_dict()['told']] == [3, 3, 2, 2, 4, 2]


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(sampler='CmaEsSampler'), "sampler must be one of 'GPSampler', 'RandomSampler'"),
        (dict(options=dict(starts=3)), "TPESampler does not take {'starts': 3}: .*'starts'"),
        (dict(options=dict(seed=3)), "TPESampler does not take {'seed': 3}"),
        (dict(options=3), 'options must be'),
    ],
)
def test_bad_arguments_are_one_line(config, message):
    with pytest.raises(UserError, match=message):
        build(dict(type='Optuna', **config), STRATEGIES)


def test_a_state_of_something_else_is_refused():
    strategy = prepared(TPE, NB201)
    queries(strategy, likes_convolutions, 2)
    with pytest.raises(UserError, match="is not of the space 'darts'"):
        prepared(TPE, build_space('darts')).load_state_dict(strategy.state_dict())
    with pytest.raises(UserError, match="holds \\['some'\\], but needs .*: it is of another strat"):
        strategy.load_state_dict(dict(some=1))


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'optuna', None)
    with pytest.raises(UserError, match="^Optuna: the package is missing: 'pip install optuna'$"):
        build('Optuna', STRATEGIES)
