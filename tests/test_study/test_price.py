"""What local search reaches on the table for the price of a search."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_table import table_lines

from rdarts.benchmarks import NASBench201
from rdarts.study import price
from rdarts.study.price import QUERIES, Price
from rdarts.study.result_tables import report_cells
from rdarts.study.statistics import COLUMNS, baselines


@pytest.fixture(scope='module')
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp('table') / 'nasbench201.csv'
    path.write_text('\n'.join(table_lines()) + '\n')
    return NASBench201(path)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(price, 'SEARCHES', 2)


def test_the_best_so_far_comes_near_the_best_of_the_table(table, quick):
    reached = Price(table).reached
    assert reached.shape == (QUERIES,)
    # of this table validation and test have one order, so that nothing is lost on the way: in the
    # real one the better cell by validation may be the worse one by test
    assert (np.diff(reached) >= 0).all()
    best = table.best('cifar10', 'test').accuracy('cifar10', 'test')
    assert reached[0] < reached[-1] <= best
    assert reached[-1] > best - 0.5


def test_queries_for_the_same_accuracy_and_accuracy_in_the_same_time(table, quick):
    own = Price(table, query_seconds=10.0)
    third = float(own.reached[2])
    found = {0: dict(cifar10_test=third, seconds=35.0), 1: dict(cifar10_test=third, seconds=None)}
    first = int(np.flatnonzero(own.reached >= third)[0]) + 1
    assert own.cells(found)[:2] == [str(first), f'{third:.2f}'] and first <= 3
    assert own.cells({0: dict(cifar10_test=101.0, seconds=9.0)})[:2] == ['> 500', 'no query']
    last = f'{own.reached[-1]:.2f}'
    # what is beyond the queries that were asked is marked
    for seconds, text in ((5000.0, last), (5010.0, f'{last} (500 queries)')):
        cells = own.cells({0: dict(cifar10_test=0.0, seconds=seconds)})
        assert cells[:2] == ['1', text]
    assert own.cells({}) == ['-', '-', '-'] and Price(table).cells({}) == ['-', '-']
    assert 'taken as 10 s' in own.note and '--query-seconds' in Price(table).note
    assert max(map(len, Price(table).note.splitlines())) <= 100


def test_what_is_read_in_the_table_costs_its_trainings(table, quick):
    own = Price(table, query_seconds=0.7)
    read = dict(cifar10_test=50.0, seconds=0.25, queries=300, trainings=300)
    assert own.cells({0: read})[1] == f'{own.reached[299]:.2f}'
    # an evaluator that trains or scores has done so in its own seconds
    assert own.cells({0: dict(cifar10_test=50.0, seconds=0.25, queries=300)})[1] == 'no query'


def test_counting_flops_is_a_column(table, quick):
    own = Price(table)
    flops = table.column('flops_m_cifar10')
    reached = table.query(int(flops.argmax())).accuracy('cifar10', 'test')
    cells = dict(zip(own.columns, own.cells({0: dict(cifar10_test=50.0)}), strict=True))
    assert cells['counting FLOPs in the same time (%)'] == f'{reached:.2f}'


def test_a_price_stands_in_the_wide_table_alone(table, quick):
    values = {f'{dataset}_{split}': 50.0 for dataset, split in COLUMNS}
    figures = dict(values, genotype='x', skip_connections=0, seconds=100.0)
    own = Price(table, query_seconds=10.0)
    groups = dict(a=('nas_bench_201, CIFAR-10', 'a'))
    tables, note, _ = report_cells(dict(a={0: figures}), baselines(table, 2), groups, own)
    whole = tables[0]
    at = [whole.header.index(name) for name in own.columns]
    assert [whole.rows[-1][i] for i in at] == own.cells({0: figures})
    assert [whole.rows[0][i] for i in at] == ['-', '-', '-']
    assert not set(own.columns) & set(whole.short.header) and own.note in note


@pytest.mark.data
def test_counting_flops_finds_the_cell_of_3x3_convolutions(data_root):
    table = NASBench201(data_root / 'nasbench201')
    note = ' '.join(Price(table).note.split())
    assert 'the cell that has most is 1462, with 93.76 % on CIFAR-10.' in note
