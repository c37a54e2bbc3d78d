"""The recurrent controller: its softmaxes by their equations, PPO's objective, and its rewards."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from test_sampling import by_hand
from test_sampling.strategy_runs import convolutions, prepared, queries

from rdarts.errors import UserError
from rdarts.registry import STRATEGIES, build
from rdarts.sampling.strategies.lstm_controller import clipped_gain
from rdarts.search_spaces import build_space

NB201 = build_space('nas_bench_201')


def controller(hidden=4, **options):
    config = dict(type='LSTMController', hidden=hidden, spread=0.8, **options)
    strategy = prepared(config, NB201)
    strategy.network.double()
    return strategy


@pytest.mark.parametrize('bias', [True, False])
def test_probability_and_entropy_are_those_of_its_equations(bias):
    strategy = controller(bias=bias)
    weights, tokens = by_hand.weights_of(strategy.network), strategy.tokens
    rows = [strategy.network.draw(np.random.default_rng(k)) for k in range(3)]
    log_p, entropy = strategy.network.judge(torch.tensor(rows))
    for k, row in enumerate(rows):
        softmaxes = by_hand.chances(weights, row, tokens.first, tokens.ways)
        ways = [token - first for token, first in zip(row, tokens.first, strict=True)]
        logs = [math.log(p[way]) for p, way in zip(softmaxes, ways, strict=True)]
        np.testing.assert_allclose(log_p[k].item(), sum(logs), rtol=1e-9)
        np.testing.assert_allclose(
            entropy[k].item(), -sum((p * np.log(p)).sum() for p in softmaxes), rtol=1e-9
        )


def test_draws_follow_the_softmaxes():
    strategy = controller()
    weights, tokens = by_hand.weights_of(strategy.network), strategy.tokens
    draws = np.random.default_rng(0)
    rows = np.array([strategy.network.draw(draws) for _ in range(600)])
    first = by_hand.chances(weights, rows[0], tokens.first, tokens.ways)[0]
    shares = np.bincount(rows[:, 0] - tokens.first[0], minlength=5) / len(rows)
    np.testing.assert_allclose(shares, first, atol=0.06)
    way = rows[:, 0] == rows[0, 0]  # given the first, the second
    second = by_hand.chances(weights, rows[0], tokens.first, tokens.ways)[1]
    shares = np.bincount(rows[way, 1] - tokens.first[1], minlength=5) / way.sum()
    np.testing.assert_allclose(shares, second, atol=0.12)


def test_the_clipped_objective():
    ratios = torch.tensor([0.5, 0.9, 1.1, 1.5] * 2, dtype=torch.float64)
    gains = torch.tensor([2.0] * 4 + [-2.0] * 4, dtype=torch.float64)
    before = torch.full((8,), -3.0, dtype=torch.float64)
    found = clipped_gain(before + ratios.log(), before, gains, 0.2)
    expected = [1.0, 1.8, 2.2, 2.4, -1.6, -1.8, -2.2, -3.0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert torch.equal(clipped_gain(before, before, gains, None), gains * -3)


@pytest.mark.parametrize('clip', [0.1, None])
def test_updates_are_adam_on_the_objective(clip):
    rewards = [50.0, 60.0, 40.0, math.nan, 90.0, math.inf]
    strategy = controller(
        hidden=2, lr=0.05, batch=6, updates=2, clip=clip, entropy=0.01, momentum=0.9, eps=1e-3
    )
    weights = {name: w.copy() for name, w in by_hand.weights_of(strategy.network).items()}
    tokens, given = strategy.tokens, iter(rewards)
    found = [genotype for genotype, _ in queries(strategy, lambda _: next(given), 6)]
    rows = tokens.of(found).tolist()
    counted = [0.4 if not math.isfinite(one) else one / 100 for one in rewards]
    decays = [0.9 ** np.arange(k, -1, -1) for k in range(6)]
    baselines = [(d * counted[: k + 1]).sum() / d.sum() for k, d in enumerate(decays)]
    gains = np.array(counted) - baselines

    def terms(at):
        softmaxes = [by_hand.chances(at, row, tokens.first, tokens.ways) for row in rows]
        logs = [
            sum(math.log(p[t - f]) for p, t, f in zip(some, row, tokens.first, strict=True))
            for some, row in zip(softmaxes, rows, strict=True)
        ]
        return np.array(logs), np.mean([-sum((p * np.log(p)).sum() for p in s) for s in softmaxes])

    before, _ = terms(weights)

    def loss(at):
        logs, entropy = terms(at)
        if clip is None:
            return -(gains * logs).mean() - 0.01 * entropy
        ratio = np.exp(logs - before)
        clamped = np.clip(ratio, 1 - clip, 1 + clip)
        return -np.minimum(ratio * gains, clamped * gains).mean() - 0.01 * entropy

    first = {name: np.zeros_like(one) for name, one in weights.items()}
    second = {name: np.zeros_like(one) for name, one in weights.items()}
    for step in (1, 2):
        grads = {name: np.zeros_like(one) for name, one in weights.items()}
        for name, one in weights.items():
            for place in np.ndindex(one.shape):
                kept, around = one[place], []
                for move in (1e-5, -1e-5):
                    one[place] = kept + move
                    around.append(loss(weights))
                one[place] = kept
                grads[name][place] = (around[0] - around[1]) / 2e-5
        for name, grad in grads.items():
            first[name] = 0.9 * first[name] + 0.1 * grad
            second[name] = 0.999 * second[name] + 0.001 * grad**2
            mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
            weights[name] -= 0.05 * mean / (np.sqrt(square) + 1e-3)
    for name, found in by_hand.weights_of(strategy.network).items():
        np.testing.assert_allclose(found, weights[name], atol=2e-5, err_msg=name)


def test_a_first_reward_that_is_not_finite_teaches_nothing():
    strategy = prepared(dict(type='LSTMController', hidden=4, batch=2), NB201)
    before = {name: one.clone() for name, one in strategy.network.state_dict().items()}
    queries(strategy, lambda _: math.nan, 6)
    after = strategy.network.state_dict()
    assert all(torch.equal(one, after[name]) for name, one in before.items())
    assert strategy.state_dict()['batch'] == []


@pytest.mark.parametrize('damage', ['one left out', 'a name', 'a shape'])
def test_averages_of_other_shapes_are_refused(damage):
    strategy = prepared(dict(type='LSTMController', hidden=4, batch=2), NB201)
    queries(strategy, lambda _: 50.0, 2)
    state = strategy.state_dict()
    if damage == 'one left out':
        state['averages'].pop()
    elif damage == 'a name':
        state['averages'][0]['mean'] = state['averages'][0].pop('exp_avg')
    else:
        state['averages'][0]['exp_avg'].pop()
    with pytest.raises(UserError, match='^LSTMController: .* have other shapes than .* of another'):
        strategy.load_state_dict(state)


@pytest.mark.parametrize('damage', [[1, 6], [0, 6, 11, 16, 21, 26], [1, 6, 11, 16, 21, 31]])
def test_sequences_of_another_space_are_refused(damage):
    strategy = prepared(dict(type='LSTMController', hidden=4, batch=3), NB201)
    queries(strategy, lambda _: 50.0, 2)
    state = strategy.state_dict()
    strategy.load_state_dict(state)
    for other in (dict(drawn=damage), dict(batch=[state['batch'][0], [damage, 0.0]])):
        with pytest.raises(UserError, match="^LSTMController: .* is not of the space 'nas_bench_2"):
            strategy.load_state_dict({**state, **other})


def test_it_climbs():
    strategy = prepared(dict(type='LSTMController', hidden=16, lr=0.02, batch=10), NB201)
    values = [value for _, value in queries(strategy, convolutions, 300)]
    assert sum(values[200:]) / 100 > 5.5  # of random cells: 2.4


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(clip=0), 'clip must be a finite number above 0 and below 1 or None, but is 0'),
        (dict(batch=0), 'batch must be a whole number of at least 1, but is 0'),
        (dict(betas=[0.9]), 'betas must be a list of 2: a finite number of at least 0 and below'),
        (dict(spread=0), 'spread must be a finite number above 0'),
    ],
)
def test_bad_arguments_are_one_line(options, message):
    with pytest.raises(UserError, match=message):
        build(dict(type='LSTMController', **options), STRATEGIES)
