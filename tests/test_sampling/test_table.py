"""Answers of a benchmark's table."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_table import CELLS, accuracy_of, table_lines, without

from rdarts.errors import UserError
from rdarts.genotypes import parse_genotype
from rdarts.registry import EVALUATORS, build
from rdarts.sampling.evaluators import Table
from rdarts.sampling.strategies import RandomSearch
from rdarts.search_spaces import build_space

NB201 = build_space('nas_bench_201')


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp('table') / 'nasbench201.csv'
    found.write_text('\n'.join(table_lines()) + '\n')
    return str(found)


def table(path, **options) -> Table:
    found = build(dict(type='rdarts.Table', path=path, **options), EVALUATORS)
    found.prepare(NB201, 0)
    return found


@pytest.mark.parametrize(
    ('dataset', 'split', 'epochs'),
    [('cifar10', 'valid', 200), ('cifar100', 'test', 12), ('imagenet16_120', 'valid', 12)],
)
def test_it_answers_with_accuracy_and_costs(dataset, split, epochs, path):
    answers = table(path, dataset=dataset, split=split, epochs=epochs)
    for index in (9930, 6111, 0):
        genotype = parse_genotype(CELLS[index])
        result = answers(genotype)
        assert result.value == result.rank
        wanted = accuracy_of(index, dataset, split, epochs)
        assert result.value == pytest.approx(wanted, abs=1e-4)
        record = answers.table.query(genotype)
        assert result.costs == dict(params=record.params(dataset), macs=record.macs(dataset))
        assert list(result.costs) == list(answers.known_costs)


def test_a_data_set_that_the_table_lacks_is_refused_before_the_search(tmp_path):
    lacking = tmp_path / 'lacking.csv'
    lacking.write_text('\n'.join(without('imagenet16_120')) + '\n')
    assert table(str(lacking), dataset='cifar100')(9930).value > 0
    with pytest.raises(UserError, match=f'table {lacking} lacks the data set imagenet16_120$'):
        table(str(lacking), dataset='imagenet16_120')


def test_a_search_by_it(path):
    answers, strategy = table(path), RandomSearch()
    strategy.prepare(NB201, np.random.default_rng(0))
    best = 0.0
    for _ in range(50):
        genotype = strategy.ask()
        result = answers(genotype)
        strategy.tell(genotype, result)
        best = max(best, result.rank)
    assert best > 60


@pytest.mark.parametrize(
    ('options', 'line'),
    [
        (dict(dataset='cifar'), "NAS-Bench-201: unknown data set 'cifar': did you mean 'cifar10'"),
        (dict(split='train'), "NAS-Bench-201: unknown split 'train'"),
        (dict(epochs=90), 'NAS-Bench-201: unknown number of epochs 90'),
        (dict(device='pixel9'), "NAS-Bench-201: no latency of 'pixel9'"),
    ],
)
def test_a_column_that_is_not_there(options, line, path):
    with pytest.raises(UserError) as error:
        table(path, **options)
    assert str(error.value).startswith(line)


def test_a_space_without_a_table_and_a_table_that_is_not_there(monkeypatch, tmp_path):
    with pytest.raises(
        UserError, match="^Table: the space 'darts' names no table of what is in it"
    ):
        Table().prepare(build_space('darts'), 0)
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path))
    with pytest.raises(UserError, match="^Table: the table 'nas_bench_201' is not there: set path"):
        Table().prepare(NB201, 0)
