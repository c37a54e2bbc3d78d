"""NSGA-II: generations by fronts and crowding, the front that it finds, and what it refuses."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from mmengine.config import Config
from test_sampling.strategy_runs import one_edge, prepared

from rdarts.errors import UserError
from rdarts.genotypes import form_named
from rdarts.registry import STRATEGIES, build
from rdarts.sampling.evaluators import Evaluator
from rdarts.sampling.history import Asked, History
from rdarts.sampling.query_parts import Parts
from rdarts.sampling.result import Result
from rdarts.search_spaces import build_space

NB201 = build_space('nas_bench_201')


def two_goals(genotype) -> Result:
    """Larger kernels reach more, and cost more; an edge that does nothing is only in the way."""
    worth = dict(none=0, skip_connect=1, avg_pool_3x3=1.5, nor_conv_1x1=3, nor_conv_3x3=5)
    price = dict(none=1, skip_connect=0, avg_pool_3x3=1, nor_conv_1x1=1, nor_conv_3x3=9)
    ops = genotype.operations()
    return Result(sum(worth[one] for one in ops), dict(macs=float(sum(price[one] for one in ops))))


def told(strategy, count, answer=two_goals) -> list:
    found = []
    for _ in range(count):
        genotype = strategy.ask()
        result = answer(genotype)
        strategy.tell(genotype, result)
        found.append((genotype, result))
    return found


def beats(a: Result, b: Result) -> bool:
    at_least = a.rank >= b.rank and a.costs['macs'] <= b.costs['macs']
    return at_least and (a.rank, a.costs['macs']) != (b.rank, b.costs['macs'])


def levels(results: list[Result]) -> list[int]:
    """The front of each, peeled off one after the other."""
    left, found, level = set(range(len(results))), [0] * len(results), 0
    while left:
        front = {i for i in left if not any(beats(results[j], results[i]) for j in left)}
        for i in front:
            found[i] = level
        left, level = left - front, level + 1
    return found


def test_of_parents_and_children_the_first_fronts_survive():
    strategy = prepared(dict(type='NSGA2', population=20), NB201)
    first = told(strategy, 20)
    members = strategy.state_dict()['members']
    assert sorted(one['level'] for one in members) == sorted(levels([r for _, r in first]))
    both = first + told(strategy, 20)
    names = [genotype.to_string() for genotype, _ in both]
    assert len(set(names)) == 40  # no child is known already
    assert strategy.state_dict()['children'] == []
    place = dict(zip(names, levels([result for _, result in both]), strict=True))
    kept = strategy.state_dict()['members']
    of_kept = [place[name_of(one)] for one in kept]
    assert of_kept == [one['level'] for one in kept]
    assert sorted(of_kept) == sorted(place.values())[:20]


def name_of(data) -> str:
    return form_named(NB201.genotype).from_dict(data['genotype']).to_string()


def test_in_the_last_front_those_with_room_around_them_survive():
    strategy = prepared(dict(type='NSGA2', population=4), NB201)
    points = [(0, 0), (1, 1), (1.1, 1.1), (1.2, 1.2), (1.3, 1.3), (3, 3), (3.1, 3.1), (9, 9)]
    results = iter(Result(value, dict(macs=cost)) for value, cost in points)
    told(strategy, 8, lambda genotype: next(results))
    members = strategy.state_dict()['members']
    # twice (9 = the range): inf, 1.1, .2, .2, 1.8, 1.8, 6, inf
    found = {one['cost']: one['crowding'] for one in members}
    assert set(found) in ({0, 9, 3.1, 1.3}, {0, 9, 3.1, 3})  # two have room of 1.8
    assert found[0] is found[9] is None
    assert found[3.1] == pytest.approx(6 / 9)


def front_of(found) -> list[tuple[float, float]]:
    history = History(Evaluator(), [Asked(genotype, result) for genotype, result in found])
    results = [found[place][1] for place in history.front('macs')]
    return [(one.value, one.costs['macs']) for one in results]


def test_the_front_is_of_all_that_was_asked_for():
    found = told(prepared(dict(type='NSGA2', population=12), NB201), 150)
    points = {(result.value, result.costs['macs']) for _, result in found}
    best = [p for p in points if not any(q[0] >= p[0] and q[1] <= p[1] and q != p for q in points)]
    assert len(best) > 5 and front_of(found) == sorted(best)


def area(results) -> float:
    """What a front of values above 0 covers, up to a cost of 60."""
    total, value = 0.0, 0.0
    for result in sorted(results, key=lambda one: one.costs['macs']):
        if result.value > value:
            total += (result.value - value) * (60 - result.costs['macs'])
            value = result.value
    return total


def test_its_front_covers_more_than_that_of_random_search():
    config = dict(type='NSGA2', population=20)
    for seed in range(3):
        ours, random = (
            area(result for _, result in told(prepared(one, NB201, seed=seed), 300))
            for one in (config, 'RandomSearch')
        )
        assert ours > random + 30, seed


@pytest.mark.parametrize('space', ['nas_bench_201', 'darts'])
def test_without_mutation_each_choice_is_a_parents(space):
    space = build_space(space)
    strategy = prepared(dict(type='NSGA2', population=6, crossover=1.0, mutation=0.0), space)
    parents = told(strategy, 6, lambda genotype: Result(1.0, dict(macs=1.0)))
    ways = [genotype.chosen(space) for genotype, _ in parents]
    made = np.zeros(len(ways[0]))
    for genotype, _ in told(strategy, 5, lambda genotype: Result(1.0, dict(macs=1.0))):
        for i, way in enumerate(genotype.chosen(space)):
            there = {one[i] for one in ways}
            assert way is None or way in there or there & {None}, i
            made[i] += way is not None
    assert made.any()
    strategy = prepared(dict(type='NSGA2', population=6, crossover=0.0, mutation=0.0), space)
    parents = told(strategy, 6, lambda genotype: Result(1.0, dict(macs=1.0)))
    assert strategy.ask() in [genotype for genotype, _ in parents]


def test_what_is_not_finite_comes_last_and_is_no_part_of_the_front():
    strategy = prepared(dict(type='NSGA2', population=4), NB201)
    values = iter([math.nan, 1.0, math.inf, 2.0, -math.inf, 3.0, 4.0, math.nan])
    found = told(strategy, 8, lambda genotype: Result(next(values), dict(macs=1.0)))
    state = strategy.state_dict()
    json.dumps(state, allow_nan=False)
    assert [one['rank'] for one in state['members']] == [4.0, 3.0, 2.0, 1.0]
    assert front_of(found) == [(4.0, 1.0)]
    strategy = prepared(dict(type='NSGA2', population=4), NB201)
    assert front_of(told(strategy, 9, lambda genotype: Result(math.nan, dict(macs=1.0)))) == []


def test_a_tiny_space_repeats():
    space = one_edge('skip_connect', 'nor_conv_3x3')
    strategy = prepared(dict(type='NSGA2', population=2), space)
    found = told(strategy, 9, lambda one: Result(float('nor_conv_3x3' in one.ops), dict(macs=1.0)))
    assert {genotype.ops for genotype, _ in found} == {('skip_connect',), ('nor_conv_3x3',)}


def test_a_cost_that_there_is_not():
    strategy = prepared(dict(type='NSGA2', cost='latency'), NB201)
    message = "^the evaluator answers no cost 'latency'; those that there are: 'macs'$"
    with pytest.raises(UserError, match=message):
        told(strategy, 1)
    with pytest.raises(UserError, match='those that there are: none$'):
        told(strategy, 1, lambda genotype: Result(1.0))


@pytest.mark.parametrize('evaluator', ['Table', 'ShortTraining', 'Supernet', 'Angle'])
def test_a_cost_that_no_answer_will_have_is_refused_before_any(evaluator):
    cfg = Config(
        dict(
            model=dict(backbone=dict(space='nas_bench_201')),
            strategy=dict(type='rdarts.NSGA2', cost='latency'),
            evaluator=dict(type=f'rdarts.{evaluator}'),
            budget=2,
        )
    )
    message = "^strategy: the evaluator answers no cost 'latency'; .*: 'params', 'macs'$"
    with pytest.raises(UserError, match=message):
        Parts.of(cfg)
    cfg.strategy.cost = 'params'
    assert Parts.of(cfg).strategy.second_goal == 'params'


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(population=0), 'population must be a whole number of at least 1, but is 0'),
        (dict(crossover=1.5), 'crossover must be'),
        (dict(mutation=-0.1), 'mutation must be'),
        (dict(cost=3), 'cost must be a text'),
    ],
)
def test_bad_arguments_are_one_line(config, message):
    with pytest.raises(UserError, match=message):
        build(dict(type='NSGA2', **config), STRATEGIES)
