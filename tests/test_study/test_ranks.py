"""Mean ranks, and which of them can be told apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from rdarts.study.ranks import Ranks
from rdarts.study.result_tables import cell_ranks, network_ranks


def of(results, columns=('x',), largest_first=True):
    return Ranks.of(results, columns, largest_first)


def test_mean_ranks_over_searches_and_data_sets():
    results = dict(
        a={0: [90.0, 70.0], 1: [91.0, 71.0]},
        b={0: [92.0, 60.0], 1: [91.0, 60.0]},
        c={0: [80.0, 50.0], 1: [81.0, 72.0]},
    )
    found = of(results, ['C10', 'C100'])
    # seed 0: a 2, 1; b 1, 2; c 3, 3, of which the ranks are 1.5, 1.5, 3
    # seed 1: a 1.5, 2; b 1.5, 3; c 3, 1, of which they are 1, 3, 2
    assert found.methods == ['a', 'b', 'c'] and found.count == 2
    assert found.means == pytest.approx([2.5 / 2, 4.5 / 2, 5 / 2])
    assert found.table.rows[0] == ['a', '1.25', '1.75', '1.50', '2']
    # the least error is the best
    least = of(dict(a={0: [5.0]}, b={0: [4.0]}), largest_first=False)
    assert least.methods == ['b', 'a'] and least.table.header[1:] == ['mean rank', 'searches']


@pytest.mark.parametrize(('methods', 'quantile'), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_differences_are_those_of_the_literature(methods, quantile):
    """Demsar (2006), table 5a: quantiles of Nemenyi's test at 5 %."""
    results = {str(m): {s: [float(m)] for s in range(8)} for m in range(methods)}
    expected = quantile * (methods * (methods + 1) / 48) ** 0.5
    assert of(results).critical_difference == pytest.approx(expected, rel=1e-3)


def test_methods_that_are_alike_are_in_one_group_and_a_worse_one_is_not():
    rng = np.random.default_rng(0)
    level = dict(a=0.0, b=0.0, c=-9.0, d=-9.0)
    results = {
        name: {seed: [rng.normal() + high] for seed in range(10)} for name, high in level.items()
    }
    found = of(results)
    assert {frozenset(found.methods[i : j + 1]) for i, j in found.groups} == {
        frozenset('ab'),
        frozenset('cd'),
    }
    assert found.friedman < 1e-4 and f'p = {found.friedman:.2g}' in found.note.replace('\n', ' ')
    assert f'less than {found.critical_difference:.2f} cannot be told apart' in found.note.replace(
        '\n', ' '
    )


def test_one_method_that_is_hardly_seen_does_not_hide_the_seeds_of_the_others():
    many = {seed: [float(seed)] for seed in range(3)}
    found = of(dict(once={0: [9.0]}, a=many, b=many, none={}))
    assert found.methods == ['a', 'b'] and found.count == 3
    assert found.left_out == ['once', 'none'] and 'with other searches: once, none.' in found.note
    # but of one seed each, more methods are more results
    found = of({name: {0: [1.0], **({1: [2.0]} if name in 'ab' else {})} for name in 'abcde'})
    assert sorted(found.methods) == [*'abcde'] and found.count == 1
    assert found.critical_difference is None and found.groups == [] and found.friedman is None
    assert 'Ranks by 1 search say nothing' in found.note


def test_the_methods_that_share_most_searches_are_found_behind_others():
    def over(seeds):
        return {seed: [float(seed)] for seed in seeds}

    found = of(dict(a=over([0, 1, 2]), b=over([3, 4, 5]), c=over([0, 1, 2])))
    assert found.methods == ['a', 'c'] and found.count == 3 and found.left_out == ['b']
    # what two have in common is all that a third has
    found = of(dict(a=over([0, 1, 2, 3]), b=over([2, 3, 4, 5]), c=over([2, 3])))
    assert sorted(found.methods) == ['a', 'b', 'c'] and found.count == 2
    # each method lacks another one of many: with more methods there are fewer searches
    found = of({str(m): over(s for s in range(12) if s != m) for m in range(8)})
    assert (len(found.methods), found.count) == (6, 6)


def test_both_tests_are_of_one_kind_of_ranks():
    """A search's ranks are whole or shared ones, of which both tests are."""
    rng = np.random.default_rng(3)
    results = {name: {s: list(rng.normal(size=3)) for s in range(6)} for name in 'abcd'}
    found = of(results, ['C10', 'C100', 'IN16'])
    assert found.of_searches.sum(1) == pytest.approx([10] * 6)
    assert found.means == pytest.approx(found.of_searches.mean(0))
    # Demsar (2006), section 3.2.2, without ties
    squares = (found.means**2).sum()
    statistic = 12 * 6 / (4 * 5) * (squares - 4 * 25 / 4)
    ties = sum(
        (counts**3 - counts).sum()
        for row in found.of_searches
        for counts in [np.unique(row, return_counts=True)[1]]
    )
    statistic /= 1 - ties / (6 * 4 * 15)
    assert found.friedman == pytest.approx(chi2.sf(statistic, 3))


def test_below_five_searches_nothing_is_told_apart():
    for seeds in (2, 4, 5):
        results = {
            name: {s: [high] for s in range(seeds)}
            for name, high in dict(a=3.0, b=2.0, c=1.0).items()
        }
        found = of(results)
        known = seeds == 5
        assert (found.critical_difference is not None) == (found.friedman is not None) == known
        assert bool(found.groups) == known
        assert ('too few seeds' in found.note) == (not known)
        assert ('Nemenyi' in found.note) == ('Friedman' in found.note) == known


def test_equal_results_and_none():
    same = {seed: [1.0] for seed in range(5)}
    found = of(dict(a=same, b=same, c=same))
    assert found.means == pytest.approx([2, 2, 2]) and found.friedman is None
    assert found.groups == [(0, 2)]
    assert of({}) is None and of(dict(a=same)) is None
    assert of(dict(a={0: [1.0]}, b={1: [1.0]})) is None


def test_of_figures():
    tests = ('cifar10_test', 'cifar100_test', 'imagenet16_120_test')
    cells = {name: {0: dict.fromkeys(tests, value)} for name, value in (('a', 1.0), ('b', 2.0))}
    groups = {name: ('nas_bench_201, CIFAR-10', name) for name in 'ab'}
    assert cell_ranks(cells, groups).methods == ['b', 'a']
    groups = dict(a_s2=('s2', 'a'), b_s2=('s2', 'b'), a_s3=('s3', 'a'), b_s3=('s3', 'b'))
    errors = dict(a_s2=4.0, b_s2=3.0, a_s3=5.0, b_s3=None)
    found = network_ranks({name: {0: dict(error=e)} for name, e in errors.items()}, groups)
    assert found.methods == ['b', 'a'] and found.count == 1
    assert found.as_data()['mean_rank'] == [1.0, 2.0]


def test_data_that_were_searched_on_are_a_part_of_a_search():
    """One method on two data sets is no two methods, nor are its cells without none."""
    tests = ('cifar10_test', 'cifar100_test', 'imagenet16_120_test')
    values = dict(a_c10=1.0, a_c100=4.0, b_c10=2.0, b_c100=3.0)
    cells = {name: {0: dict.fromkeys(tests, value)} for name, value in values.items()}
    cells['a_c10, without none'] = {0: dict.fromkeys(tests, 9.0)}
    rows = dict(c10='nas_bench_201, CIFAR-10', c100='nas_bench_201, CIFAR-100')
    groups = {name: (rows[name[2:]], name[0]) for name in values}
    found = cell_ranks(cells, groups)
    assert found.methods == ['a', 'b'] and found.count == 2 and found.left_out == []
    assert found.means.tolist() == [1.5, 1.5]
