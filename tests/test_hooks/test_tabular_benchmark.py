"""The look-up of the current cell, with and without a table."""

from __future__ import annotations

import gzip
import json

import pytest
import torch
from helpers import digits_config, digits_runner, log_text
from mmengine.hooks import Hook
from synthetic_table import accuracy_of, table_lines

from rdarts.benchmarks import NASBench201
from rdarts.benchmarks.nas_bench_201_file import OPERATIONS
from rdarts.errors import UserError

HOOK = dict(type='rdarts.TabularBenchmarkHook')


@pytest.fixture(scope='module')
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp('table')
    path = folder / 'nasbench201.csv.gz'
    path.write_bytes(gzip.compress('\n'.join(table_lines()).encode(), 1))
    return folder


class AllOf(Hook):
    """Makes the cell one of six equal operations."""

    priority = 'ABOVE_NORMAL'

    def __init__(self, column):
        self.column = column

    def after_train_epoch(self, runner):
        with torch.no_grad():
            alpha = runner.model.backbone.arch_parameters['cell']
            alpha.zero_()
            alpha[:, self.column] = 1.0


def epochs(work_dir):
    lines = map(json.loads, (work_dir / 'search_log.jsonl').read_text().splitlines())
    return [row for row in lines if row['kind'] == 'epoch']


def run(work_dir, path=None, column=3, **options):
    options['default_hooks.benchmark'] = dict(HOOK, path=path)
    runner = digits_runner(work_dir, options, hooks=[AllOf(column)])
    runner.train()
    return runner


@pytest.mark.slow
@pytest.mark.parametrize('column', [1, 3])
def test_the_current_cell_is_looked_up(tmp_path, table, column):
    run(tmp_path, str(table), column)
    index = column * sum(5**k for k in range(6))
    (row,) = epochs(tmp_path)
    found = row['benchmark']
    assert found['index'] == index
    for name in ('cifar10', 'cifar100', 'imagenet16_120'):
        for split in ('test', 'valid'):
            assert found[name][split] == pytest.approx(accuracy_of(index, name, split), abs=1e-9)
    assert list(row)[-1] == 'benchmark'
    accuracy = accuracy_of(index, 'cifar10')
    text = f'Cell {index} in the table (test %, 200 epochs): cifar10 {accuracy:.2f}'
    assert log_text(tmp_path).count(text) == 1


def test_it_is_found_under_rdarts_data(tmp_path, table, monkeypatch):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'nasbench201').symlink_to(table)
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path / 'data'))
    run(tmp_path / 'work')
    assert epochs(tmp_path / 'work')[0]['benchmark']['index'] == 3 * 3906


@pytest.mark.slow
@pytest.mark.parametrize('damage', ['absent', 'no such path', 'cut off', 'other columns'])
def test_without_a_table_one_line_says_so_and_the_search_goes_on(
    tmp_path, table, monkeypatch, damage
):
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path / 'nothing'))
    path, reason = None, 'put nasbench201.csv.gz into data/nasbench201, or set RDARTS_DATA'
    if damage == 'no such path':
        path, reason = str(tmp_path / 'missing.csv'), 'table not found'
    elif damage != 'absent':
        file = tmp_path / 'broken.csv'
        lines = gzip.decompress((table / 'nasbench201.csv.gz').read_bytes()).decode().split('\n')
        text, reason = '\n'.join(lines[:500]), str(file)
        if damage == 'other columns':
            text, reason = '\n'.join(lines).replace('cifar100_valid_12,', 'x,'), 'lacks the column'
        file.write_text(text)
        path = str(file)
    run(tmp_path / 'work', path)
    (row,) = epochs(tmp_path / 'work')
    assert 'benchmark' not in row and row['genotype'].count('nor_conv_3x3') == 6
    (line,) = [
        line
        for line in log_text(tmp_path / 'work').splitlines()
        if 'No NAS-Bench-201 table, so no look-up' in line
    ]
    assert reason in line
    assert (tmp_path / 'work' / 'genotype.json').exists()


def test_another_space_is_not_looked_up(tmp_path, table):
    space = dict(
        type='CellSpace',
        name='mine',
        cells=dict(cell=dict(num_nodes=3, candidates=list(OPERATIONS))),
    )
    model = digits_config(tmp_path).model
    model.backbone.space = space
    runner = digits_runner(
        tmp_path,
        {'default_hooks.benchmark': dict(HOOK, path=str(table))},
        model=model,
    )
    runner.train()
    text = "No look-up: the NAS-Bench-201 table holds no cell of the space 'mine'"
    assert log_text(tmp_path).count(text) == 1
    assert 'benchmark' not in epochs(tmp_path)[0]


@pytest.mark.slow
def test_the_real_table(tmp_path, data_root):
    run(tmp_path, str(data_root / 'nasbench201'))
    (row,) = epochs(tmp_path)
    cell = NASBench201(data_root / 'nasbench201').query(row['genotype'])
    assert row['benchmark']['index'] == cell.index
    assert row['benchmark']['cifar10']['test'] == cell.accuracy('cifar10', 'test', 200) > 90


def test_the_table_knows_no_text_that_is_no_cell(table):
    with pytest.raises(UserError, match='has 1 node instead of 3'):
        NASBench201(table).query('|none~0|')
