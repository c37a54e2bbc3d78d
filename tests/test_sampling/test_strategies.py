"""What strategies propose, how they go on from their state, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from test_sampling.strategy_runs import (
    STRATEGY_CONFIGS,
    check_resumed_after_any_query,
    convolutions,
    likes_convolutions,
    one_edge,
    prepared,
    queries,
)

from rdarts.errors import UserError
from rdarts.genotypes import form_named
from rdarts.registry import STRATEGIES, build
from rdarts.search_spaces import build_space

SPACES = ('darts', 'mobilenet_like', 'nas_bench_201', 'nasnet', 's4')
NB201 = build_space('nas_bench_201')
NETWORKS = {'controller', 'nao', 'seminas'}  # as small as here, they hardly learn
# once in a generation, or by chance
RARELY_CLIMB = {'random', 'generations', *NETWORKS}
# their state is long, and the other spaces have one of these three forms, too
RESUMED = [
    (name, space)
    for name in STRATEGY_CONFIGS
    for space in SPACES
    if name not in NETWORKS or space in ('darts', 'mobilenet_like', 'nas_bench_201')
]


@pytest.mark.parametrize(('name', 'space'), RESUMED)
def test_resumed_after_any_query_it_asks_for_the_same(name, space):
    check_resumed_after_any_query(STRATEGY_CONFIGS[name], build_space(space), 60)


@pytest.mark.parametrize('name', STRATEGY_CONFIGS)
def test_it_asks_for_nothing_that_is_not_allowed(name):
    def few(genotype) -> bool:
        return convolutions(genotype) <= 3

    strategy = prepared(STRATEGY_CONFIGS[name], NB201, allowed=few)
    found = queries(strategy, likes_convolutions, 100)
    assert all(few(genotype) for genotype, _ in found)
    assert max(value for _, value in found) == 3


@pytest.mark.parametrize('name', STRATEGY_CONFIGS)
def test_nothing_is_allowed(name):
    with pytest.raises(UserError, match='1000 genotypes drawn in a row is within the limits'):
        prepared(STRATEGY_CONFIGS[name], NB201, allowed=lambda genotype: False).ask()


def test_a_local_search_whose_best_has_no_neighbour_that_is_allowed_begins_anew():
    draws = np.random.default_rng(1)
    form = form_named(NB201.genotype)
    alone = {form.random(NB201, draws) for _ in range(30)}  # no two of them are neighbours
    assert not any(set(one.neighbours(NB201)) & alone for one in alone)
    strategy = prepared(dict(type='LocalSearch', initial=2), NB201, allowed=alone.__contains__)
    strategy.drawn = lambda draw: sorted(alone, key=str)[strategy.generator.integers(len(alone))]
    assert len({genotype for genotype, _ in queries(strategy, likes_convolutions, 40)}) > 10


# generations ask for no genotype twice, and the best are few: see test_evolution.py
@pytest.mark.parametrize('name', sorted(set(STRATEGY_CONFIGS) - RARELY_CLIMB))
def test_it_climbs(name):
    found = queries(prepared(STRATEGY_CONFIGS[name], NB201), likes_convolutions, 400)
    values = [0 if math.isnan(value) else value for _, value in found]
    assert max(values) == 6 and sum(values[200:]) / 200 > 3.5  # of random cells: 2.4


def test_the_oldest_leaves_the_population_and_a_mutation_of_the_best_joins_it():
    strategy = prepared(
        dict(type='RegularizedEvolution', population=4, sample=4, replacement=False), NB201
    )
    values = iter([1.0, 9.0, 2.0, 3.0, math.nan, 0.0, 0.0])
    found = [genotype for genotype, _ in queries(strategy, lambda _: next(values), 7)]
    for child, parent in ((4, 1), (5, 1), (6, 3)):  # the second has left before the last
        changed = [a != b for a, b in zip(found[child].ops, found[parent].ops, strict=True)]
        assert sum(changed) == 1, child
    members = strategy.state_dict()['population']
    assert [member['rank'] for member in members] == [3.0, None, 0.0, 0.0]


def test_local_search_asks_for_the_neighbours_of_the_best_start_and_starts_anew():
    strategy = prepared(dict(type='LocalSearch', initial=3), NB201)
    values = iter([1.0, 2.0, 0.0])
    starts = [genotype for genotype, _ in queries(strategy, lambda _: next(values), 3)]
    assert len({one.ops for one in starts}) == 3
    texts = {one.ops for one in starts[1].neighbours(NB201)}
    first = queries(strategy, lambda _: 2.0, 5)  # no better
    assert {one.ops for one, _ in first} < texts
    ((better, _),) = queries(strategy, lambda _: 3.0, 1)
    assert better.ops in texts
    around = queries(strategy, lambda _: -math.inf, 24)
    assert {one.ops for one, _ in around} == {one.ops for one in better.neighbours(NB201)}
    ((anew, _),) = queries(strategy, lambda _: -math.inf, 1)  # of any value
    again = queries(strategy, lambda _: -math.inf, 24)
    assert {one.ops for one, _ in again} == {one.ops for one in anew.neighbours(NB201)}


def test_local_search_to_the_best_neighbour_asks_for_all_of_them():
    strategy = prepared(dict(type='LocalSearch', initial=1, improvement='best'), NB201)
    ((start, _),) = queries(strategy, lambda _: 0.0, 1)
    values = iter([1.0, 5.0, 5.0, *[2.0] * 21])
    around = queries(strategy, lambda _: next(values), 24)
    assert {one.ops for one, _ in around} == {one.ops for one in start.neighbours(NB201)}
    next_ones = queries(strategy, lambda _: 0.0, 24)
    assert {one.ops for one, _ in next_ones} == {one.ops for one in around[1][0].neighbours(NB201)}


def test_the_starts_of_a_tiny_space_repeat():
    space = one_edge('skip_connect', 'nor_conv_3x3')
    found = queries(prepared(dict(type='LocalSearch'), space), likes_convolutions, 30)
    assert {genotype.ops for genotype, _ in found} == {('skip_connect',), ('nor_conv_3x3',)}


def test_reinforce_is_adam_on_the_score_function():
    lr, rewards = 0.1, [50.0, 60.0, 40.0, math.nan, 90.0, math.inf, 70.0]
    strategy = prepared(dict(type='Reinforce', lr=lr), NB201)
    logits = torch.tensor(strategy.state_dict()['logits'], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=lr)
    given = iter(rewards)
    found = queries(strategy, lambda _: next(given), len(rewards))
    counted = [40.0 if not math.isfinite(reward) else reward for reward in rewards]
    for k, (genotype, _) in enumerate(found):
        weights = 0.9 ** torch.arange(k, -1, -1, dtype=torch.float64)
        baseline = (
            weights * torch.tensor(counted[: k + 1], dtype=torch.float64)
        ).sum() / weights.sum()
        rows = torch.tensor(genotype.chosen(NB201))
        log_p = logits.log_softmax(1).gather(1, rows[:, None]).sum()
        optimizer.zero_grad()
        (-(counted[k] - baseline) * log_p).backward()
        optimizer.step()
        if k == 0:
            assert torch.equal(logits.grad, torch.zeros(6, 5, dtype=torch.float64))
    np.testing.assert_allclose(strategy.probabilities(), logits.detach().softmax(1), rtol=1e-9)


def test_a_first_reward_that_is_not_finite_moves_nothing():
    strategy = prepared(dict(type='Reinforce'), NB201)
    before = strategy.state_dict()
    queries(strategy, lambda _: math.nan, 3)
    assert strategy.state_dict() == before


@pytest.mark.parametrize('name', ['logits', 'first', 'second'])
def test_a_policy_of_another_shape_is_refused(name):
    strategy = prepared(dict(type='Reinforce'), NB201)
    state = strategy.state_dict()
    state[name].pop()
    message = f"has {name} of \\[5, 5\\], but 'nas_bench_201' needs \\[6, 5\\]: it is of another"
    with pytest.raises(UserError, match=message):
        strategy.load_state_dict(state)


def test_choices_that_make_no_difference_are_not_learnt():
    space = build_space('darts')
    strategy = prepared(dict(type='Reinforce', lr=0.1), space)
    before = strategy.probabilities()
    values = iter([1.0, 2.0])
    found = queries(strategy, lambda _: next(values), 2)
    moved = np.abs(strategy.probabilities() - before).max(1) > 1e-3
    several = np.array(form_named('cell').choices(space)) > 1
    made = np.array([way is not None for way in found[1][0].chosen(space)])
    assert (moved == (made & several)).all()


def test_draws_follow_the_policy():
    strategy = prepared(dict(type='Reinforce'), NB201)
    state = strategy.state_dict()
    state['logits'] = np.log([[0.1, 0.2, 0.4, 0.2, 0.1]] * 6).tolist()
    strategy.load_state_dict(state)
    rows = np.array([strategy.ask().chosen(NB201) for _ in range(1500)])
    shares = [(rows == way).mean() for way in range(5)]
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.4, 0.2, 0.1], atol=0.02)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='RegularizedEvolution', population=0), 'population must be a whole number of'),
        (dict(type='RegularizedEvolution', sample=2.5), 'sample must be a whole number of at l'),
        (
            dict(type='RegularizedEvolution', population=5, sample=6, replacement=False),
            'a sample of 6 cannot be drawn from a population of 5 without replacement',
        ),
        (dict(type='LocalSearch', initial=True), 'initial must be a whole number of at least 1'),
        (dict(type='LocalSearch', improvement='worst'), "must be one of 'first', 'best'"),
        (dict(type='Reinforce', lr=0), 'lr must be a finite number above 0, but is 0'),
        (dict(type='WeakNAS', top=0), 'top must be a whole number of at least 1, but is 0'),
        (dict(type='WeakNAS', predictor='Forest'), "unknown predictor 'Forest'"),
        (dict(type='Reinforce', momentum=1.0), 'momentum must be a finite number of at least 0'),
    ],
)  # fmt: skip
def test_bad_arguments_are_one_line(config, message):
    with pytest.raises(UserError, match=message):
        build(config, STRATEGIES)


@pytest.mark.parametrize('name', ['evolution', 'first'])
def test_a_space_of_a_single_genotype_is_refused(name):
    space = one_edge('skip_connect')
    with pytest.raises(UserError, match="'own' has a single genotype, which cannot be mutated"):
        prepared(STRATEGY_CONFIGS[name], space)


@pytest.mark.parametrize('name', ['evolution', 'first', 'reinforce', 'weaknas'])
def test_a_state_of_something_else_is_refused(name):
    config = STRATEGY_CONFIGS[name]
    strategy = prepared(config, NB201)
    queries(strategy, likes_convolutions, 5)
    with pytest.raises(UserError, match='is of another s|of the space'):
        prepared(config, build_space('darts')).load_state_dict(strategy.state_dict())
    with pytest.raises(UserError, match="holds \\['some'\\], but needs .*: it is of another strat"):
        strategy.load_state_dict(dict(some=1))


@pytest.mark.parametrize('name', ['first', 'best', 'generations', 'weaknas', 'nao', 'seminas'])
def test_it_goes_on_with_lower_limits(name):
    config = STRATEGY_CONFIGS[name]

    def none_left_out(genotype) -> bool:
        return 'none' not in genotype.operations()

    before, lower = prepared(config, NB201), prepared(config, NB201, 1, none_left_out)
    queries(before, likes_convolutions, 15)
    lower.load_state_dict(before.state_dict())
    assert all(none_left_out(one) for one, _ in queries(lower, likes_convolutions, 20))
