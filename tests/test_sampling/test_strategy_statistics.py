"""What strategies reach on the table of NAS-Bench-201, on average."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator

import numpy as np
import pytest
from golden import FOLDER
from test_sampling.strategy_runs import prepared

from rdarts.benchmarks import NASBench201
from rdarts.sampling.result import Result
from rdarts.sampling.strategies import Strategy
from rdarts.search_spaces import build_space

CASE = json.loads((FOLDER / 'search_nb201_statistics.json').read_text())
REPORTED = ('cifar10_test_200', 'cifar100_test_200', 'imagenet16_120_test_200')
SEEDS = 100
ROUNDING = 5e-4  # of the file's numbers
SPACE = build_space('nas_bench_201')
EVOLUTION = 'RegularizedEvolution'
ROWS = dict(
    random_search_with_replacement=dict(type='RandomSearch'),
    re_pop50_sample10=dict(type=EVOLUTION, population=50, sample=10),
    re_pop10_sample10=dict(type=EVOLUTION, population=10, sample=10),
    re_pop50_sample10_without_replacement=dict(
        type=EVOLUTION, population=50, sample=10, replacement=False
    ),
    local_search_best_init10=dict(type='LocalSearch', improvement='best'),
    local_search_first_init10=dict(type='LocalSearch'),
    reinforce_adam_lr0_01=dict(type='Reinforce'),
    reinforce_adam_lr0_1=dict(type='Reinforce', lr=0.1),
)


@pytest.fixture(scope='module')
def table(data_root):
    return NASBench201(data_root / 'nasbench201')


@functools.cache
def index_of(table, genotype) -> int:
    """The index of a cell, looked up once."""
    return table.index_of(genotype.to_string())


def searched(table, strategy: Strategy, criterion: str) -> Iterator[int]:
    """The indices of the cells that a strategy asks for."""
    values = table.column(criterion)
    while True:
        genotype = strategy.ask()
        index = index_of(table, genotype)
        yield index
        strategy.tell(genotype, Result(float(values[index])))


def check(table, row: str, criterion: str, budget: int, runs: list[list[int]], of: int) -> None:
    """Means over runs are as close to the row's, of so many seeds, as the file says."""
    expected = CASE['expected'][criterion][row][str(budget)]
    values = table.column(criterion)
    best = [max(run[:budget], key=values.__getitem__) for run in runs]  # of a tie the first
    for name in (*REPORTED, 'criterion'):
        found = table.column(criterion if name == 'criterion' else name)[best]
        mean, deviation = expected[name]
        margin = 4 * deviation * (1 / of + 1 / len(runs)) ** 0.5 + ROUNDING
        assert abs(found.mean() - mean) < margin, (budget, name, found.mean())


@pytest.mark.parametrize('criterion', ['cifar10_valid_12', 'cifar10_valid_200'])
@pytest.mark.parametrize('row', ROWS)
def test_means(table, row, criterion):
    runs = [
        list(itertools.islice(searched(table, prepared(ROWS[row], SPACE, seed), criterion), 500))
        for seed in range(SEEDS)
    ]
    for budget in (100, 300, 500):
        check(table, row, criterion, budget, runs, of=500)


@pytest.mark.parametrize('epochs', [12, 200])
@pytest.mark.parametrize('data_set', ['cifar10', 'cifar100', 'imagenet16_120'])
def test_means_of_a_small_population_on_each_data_set(table, data_set, epochs):
    criterion = f'{data_set}_valid_{epochs}'
    expected = CASE['searches_on_the_data_set_reported']['values'][f're10_3|{criterion}|100']
    config, best = dict(type=EVOLUTION, population=10, sample=3), []
    for seed in range(SEEDS):
        cells = itertools.islice(searched(table, prepared(config, SPACE, seed), criterion), 100)
        best.append(max(cells, key=table.column(criterion).__getitem__))
    for name, (mean, deviation) in expected.items():
        margin = 4 * deviation * (1 / 500 + 1 / SEEDS) ** 0.5 + ROUNDING
        assert abs(table.column(f'{data_set}_{name}')[best].mean() - mean) < margin, name


@pytest.mark.slow
def test_means_of_weaknas(table):
    criterion = 'cifar10_valid_200'
    strategy = prepared(dict(type='WeakNAS', predictor=dict(type='RandomForest', trees=50)), SPACE)
    start, runs = strategy.state_dict(), []
    for seed in range(20):
        strategy.load_state_dict(start)
        strategy.generator = np.random.default_rng(seed)
        runs.append(list(itertools.islice(searched(table, strategy, criterion), 100)))
    for budget in (50, 100):
        check(table, 'weaknas_random_forest', criterion, budget, runs, of=100)


@pytest.mark.parametrize(('data_set', 'expected'), [('cifar10', 83.6), ('cifar100', 71.1)])
def test_local_search_finds_the_best_cell(table, data_set, expected):
    criterion = f'{data_set}_valid_200'
    best = int(table.column(criterion).argmax())
    counts = []
    for seed in range(SEEDS):
        cells = searched(table, prepared(dict(type='LocalSearch'), SPACE, seed), criterion)
        counts.append(next(k for k, cell in enumerate(cells, 1) if cell == best))
    error = np.std(counts, ddof=1) * (1 / SEEDS + 1 / 200) ** 0.5
    assert abs(np.mean(counts) - expected) < 4 * error
