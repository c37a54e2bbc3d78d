"""Statistics over seeds, and what the table gives without a search."""

from __future__ import annotations

import numpy as np
import pytest

from rdarts.benchmarks import NASBench201
from rdarts.study.statistics import (
    Summary,
    baselines,
    best_of_random,
    differences,
    paired_difference,
    random_cell,
)


def test_summaries():
    found = Summary.of([1.0, 2.0, 6.0])
    assert (found.count, found.mean, found.best) == (3, 3.0, 6.0)
    assert found.deviation == pytest.approx(7.0**0.5)
    assert Summary.of([4.0]) == Summary(1, 4.0, None, 4.0)


def test_differences_are_paired_by_seed():
    """Seeds that move both methods alike do not hide a difference."""
    ours = {seed: 90 + seed + 0.5 for seed in range(6)}
    theirs = {seed: 90.0 + seed for seed in range(8)}
    found = paired_difference(ours, theirs)
    assert found == dict(difference=0.5, low=0.5, high=0.5, pairs=6)
    assert paired_difference({0: 1.0}, {0: 2.0}) is None
    assert paired_difference({0: 1.0, 1: 2.0}, {2: 2.0, 3: 1.0}) is None


def test_the_interval_is_that_of_the_mean():
    """Of many values it is nearly +- 1.96 standard errors."""
    rng = np.random.default_rng(1)
    values = rng.normal(0.3, 2.0, 400)
    found = paired_difference(dict(enumerate(values)), dict.fromkeys(range(400), 0.0))
    error = values.std() / 20
    assert found['difference'] == pytest.approx(values.mean())
    assert found['low'] == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert found['high'] == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


@pytest.mark.parametrize('pairs', [5, 10])
def test_few_pairs_leave_out_a_true_difference_one_time_in_twenty(pairs):
    rng = np.random.default_rng(0)
    out = 0
    for _ in range(400):
        values = dict(enumerate(rng.normal(0.0, 1.0, pairs)))
        found = paired_difference(values, dict.fromkeys(range(pairs), 0.0), resamples=1000)
        out += found['low'] > 0 or found['high'] < 0
    assert 0.03 <= out / 400 <= 0.09


@pytest.fixture(scope='module')
def table(data_root):
    return NASBench201(data_root / 'nasbench201' / 'nasbench201.csv.gz')


@pytest.mark.data
def test_what_needs_no_search(table):
    found = baselines(table, 10)
    assert found['optimal']['cifar10_test']['mean'] == pytest.approx(94.37, abs=0.005)
    assert found['optimal']['imagenet16_120_valid']['mean'] == pytest.approx(46.73, abs=0.005)
    all_3x3 = found['six 3x3 convolutions']
    assert all_3x3['cifar10_test']['mean'] == pytest.approx(93.76, abs=0.005)
    assert all_3x3['cifar100_test']['mean'] == pytest.approx(71.11, abs=0.005)
    values = table.column('cifar10_test_200')
    cell = random_cell(table, 'cifar10', 'test')
    assert cell['mean'] == pytest.approx(values.mean())
    assert cell['median'] == pytest.approx(np.median(values))
    assert np.mean(values <= cell['quartile_1']) == pytest.approx(0.25, abs=0.001)


@pytest.mark.data
@pytest.mark.parametrize('k', [1, 5, 50])
def test_the_best_of_k_is_what_sampling_finds(table, k):
    score, values = table.column('cifar10_valid_12'), table.column('cifar10_test_200')
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(score), (20_000, k))
    chosen = drawn[np.arange(20_000), score[drawn].argmax(1)]
    found = best_of_random(table, k, 'cifar10', 'test')
    error = values[chosen].std() / 20_000**0.5
    assert found['mean'] == pytest.approx(values[chosen].mean(), abs=5 * error)
    assert found['deviation'] == pytest.approx(values[chosen].std(), rel=0.1)


def test_differences_of_methods_and_to_constants():
    ours, theirs = {s: 90.0 + s % 2 for s in range(6)}, {s: 80.0 + s % 2 for s in range(4)}
    found = differences(dict(ours=ours, theirs=theirs, none={}), dict(best=95.0))
    assert [(row['left'], row['right'], row['pairs'], row['verdict']) for row in found] == [
        ('ours', 'theirs', 4, 'too few seeds'),
        ('ours', 'none', 0, 'too few seeds'),
        ('theirs', 'none', 0, 'too few seeds'),
        ('ours', 'best', 6, 'lower'),
        ('theirs', 'best', 4, 'too few seeds'),
        ('none', 'best', 0, 'too few seeds'),
    ]
    assert found[0]['difference'] == 10 and found[1]['difference'] is None
    assert found[3]['difference'] == -4.5 and -5 <= found[3]['low'] < found[3]['high'] <= -4
    (row,) = differences(dict(ours=ours), dict(worst=1.0))
    assert row['verdict'] == 'higher'
    (row,) = differences(dict(ours=ours), dict(same=90.5))
    assert row['verdict'] == 'no difference shown'
