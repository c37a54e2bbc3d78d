"""Generations of the evolution that one-shot methods search by."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_sampling.strategy_runs import one_edge, prepared, queries

from rdarts.errors import UserError
from rdarts.registry import STRATEGIES, build
from rdarts.search_spaces import build_space

NB201 = build_space('nas_bench_201')


def differences(one, other) -> int:
    return sum(a != b for a, b in zip(one.chosen(NB201), other.chosen(NB201), strict=True))


def test_children_are_of_the_best_of_all_generations():
    config = dict(
        type='Evolution', population=6, parents=2, mutations=2, crossovers=3, probability=0.0
    )
    strategy = prepared(config, NB201)
    values = iter([3.0, 9.0, math.nan, 8.0, 1.0, 2.0])
    first = [genotype for genotype, _ in queries(strategy, lambda _: next(values), 6)]
    best = {first[1], first[3]}
    assert {one.genotype for one in strategy._best} == best
    second = [genotype for genotype, _ in queries(strategy, lambda _: 0.0, 6)]
    # a mutation that draws nothing anew is a parent, which was asked for: random ones instead
    mixed = [one for one in second if all(
        way in {parent.chosen(NB201)[k] for parent in best}
        for k, way in enumerate(one.chosen(NB201))
    )]  # fmt: skip
    assert 3 <= len(mixed) < 6 and mixed[:3] == second[:3]
    assert {one.genotype for one in strategy._best} == best  # of an earlier generation


def test_a_mutation_draws_each_choice_anew_with_the_probability():
    config = dict(type='Evolution', population=2000, parents=1, mutations=2000, crossovers=0)
    strategy = prepared(config, NB201)
    first = [genotype for genotype, _ in queries(strategy, lambda _: 0.0, 2000)]
    found = np.array([differences(strategy._mutation([first[0].chosen(NB201)]), first[0])
                      for _ in range(4000)])  # fmt: skip
    assert abs(found.mean() / 6 - 0.1 * 4 / 5) < 0.006  # a fifth of what is drawn is as it was


def test_nothing_is_asked_for_twice():
    found = queries(prepared(dict(type='Evolution'), NB201), lambda one: one.ops.count('none'), 500)
    assert len({genotype for genotype, _ in found}) == 500
    assert np.mean([value for _, value in found[300:]]) > 2  # of random cells: 1.2


def test_a_tiny_space_repeats():
    space = one_edge('skip_connect', 'nor_conv_3x3')
    found = queries(prepared(dict(type='Evolution', population=50), space), lambda _: 0.0, 120)
    assert {genotype.ops for genotype, _ in found} == {('skip_connect',), ('nor_conv_3x3',)}


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(population=10), '25 mutations and 25 crossovers are more than a population of 10'),
        (dict(probability=1.5), 'probability must be'),
        (dict(parents=0), 'parents must be a whole number of at least 1'),
    ],
)
def test_bad_arguments_are_one_line(config, message):
    with pytest.raises(UserError, match=message):
        build(dict(type='Evolution', **config), STRATEGIES)
