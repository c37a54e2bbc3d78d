"""Statistics of strategies on the table of NAS-Bench-201."""

from __future__ import annotations

import numpy as np
import pytest

from rdarts.benchmarks import NASBench201
from rdarts.errors import UserError
from rdarts.measure import query_statistics
from rdarts.measure.query_statistics import (
    Criterion,
    Run,
    measure,
    read_runs,
    strategy_config,
    summarise,
)


@pytest.fixture
def table(data_root, monkeypatch):
    monkeypatch.setenv('RDARTS_DATA', str(data_root))
    return NASBench201.find()


def test_strategies_by_name():
    assert strategy_config(' LocalSearch') == dict(type='LocalSearch')
    assert strategy_config('LocalSearch()') == dict(type='LocalSearch')
    text = 'WeakNAS(predictor=dict(type=RandomForest, trees=5), top=7)'
    predictor = dict(type='RandomForest', trees=5)
    assert strategy_config(text) == dict(type='WeakNAS', predictor=predictor, top=7)


@pytest.mark.parametrize('text', ['WeakNAS(top=', 'WeakNAS(3)', 'WeakNAS(top=7))'])
def test_a_strategy_that_cannot_be_read(text):
    with pytest.raises(UserError, match='a strategy is its name, with arguments in brackets'):
        strategy_config(text)


def test_a_search_keeps_where_it_climbed(table):
    criterion = Criterion('cifar100', 12)
    (run,) = measure(['RandomSearch'], criterion, [3], 40)
    values = table.column('cifar100_valid_12')
    queries, cells = zip(*run.climbs, strict=True)
    assert queries[0] == 1 and list(queries) == sorted(set(queries)) and queries[-1] <= 40
    assert (np.diff(values[list(cells)]) > 0).all()
    assert [run.best(budget) for budget in queries] == list(cells)
    assert measure(['RandomSearch'], criterion, [3], 40)[0].climbs == run.climbs


def test_what_a_file_has_is_not_run_again(table, tmp_path, monkeypatch):
    path = tmp_path / 'new' / 'runs.csv'
    first = measure(['RandomSearch', 'LocalSearch'], Criterion(), range(2), 30, path)
    assert read_runs(path) == [
        Run(*(getattr(run, name) for name in query_statistics.NAMES[:4]),
            round(run.seconds, 4), run.climbs)
        for run in first
    ]  # fmt: skip
    said: list[str] = []
    measure(['LocalSearch'], Criterion(), range(3), 20, path, said.append)
    assert [line.partition(':')[0] for line in said] == ['LocalSearch, seed 2']
    measure(['LocalSearch'], Criterion(), [2], 30, path, said.append)  # longer
    measure(['LocalSearch'], Criterion(epochs=12), [2], 20, path, said.append)
    assert len(said) == 3 and len(read_runs(path)) == 7

    def fails(strategy, *args):
        if strategy == 'Reinforce':
            raise KeyboardInterrupt
        return Run(strategy, 'cifar10_valid_200', 9, 30, 1.0, ((1, 5),))

    monkeypatch.setattr(query_statistics, 'search', fails)
    with pytest.raises(KeyboardInterrupt):
        measure(['LocalSearch', 'Reinforce'], Criterion(), [9], 30, path)
    assert read_runs(path)[-1].seed == 9  # what ended before is kept


def test_means_and_the_optimum(table):
    best = int(table.column('cifar10_valid_200').argmax())
    runs = [
        Run('A', 'cifar10_valid_200', 0, 10, 0.5, ((1, 0), (4, best))),
        Run('A', 'cifar10_valid_200', 1, 10, 1.5, ((1, 0), (8, best))),
        Run('B', 'cifar10_valid_200', 0, 10, 100.0, ((2, 0),)),
    ]
    found = summarise(table, runs, [5, 10])
    test = table.column('cifar10_test_200')
    mean, deviation = np.mean(test[[best, 0]]), np.std(test[[best, 0]], ddof=1)
    assert found.rows[0][:3] == ['A', '5', f'{mean:.2f} ± {deviation:.2f}']
    assert found.rows[1][2] == f'{test[best]:.2f} ± 0.00'
    assert [row[-3:] for row in found.rows] == [
        ['50', '>4', '10'], ['100', '6', '10'], ['0', '>5', '0.1'], ['0', '>10', '0.1'],
    ]  # fmt: skip
    assert 'over 2 seeds' in found.title


@pytest.mark.parametrize(
    ('text', 'line'), [('a,b\n1,2\n', 2), ('{header}\nA,c,0,5,1.0,1:2\nA,c,0,5\n', 3)]
)
def test_a_file_of_something_else_is_refused(tmp_path, text, line):
    path = tmp_path / 'runs.csv'
    path.write_text(text.format(header=','.join(query_statistics.NAMES)))
    with pytest.raises(UserError, match=f'line {line}: no run of this tool, whose columns are'):
        read_runs(path)


def test_a_mistake_in_the_last_strategy_comes_first(monkeypatch):
    monkeypatch.setattr(query_statistics, 'search', None)
    with pytest.raises(UserError, match="unknown strategy 'LocalSaerch'"):
        measure(['RandomSearch', 'LocalSaerch'], Criterion(), [0], 5)
