"""The tables of a comparison: what stands where, and that they fit a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.study.found_cells import NOISE, found_table
from rdarts.study.result_tables import (
    accuracy_table,
    data_names,
    error_table,
    group_of,
    groups_of,
    report_cells,
    report_networks,
)
from rdarts.study.statistics import COLUMNS, Summary
from rdarts.study.tables import Table, as_text, percent

COLUMN_NAMES = [f'{dataset}_{split}' for dataset, split in COLUMNS]
CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('search/darts_darts_c10.py', ('darts, CIFAR-10', 'darts')),
        ('search/rdarts_darts_c100.py', ('darts, CIFAR-100', 'rdarts')),
        ('search/darts_2nd_s3_c10.py', ('s3, CIFAR-10', 'darts_2nd')),
        ('search/rdarts_s4_c100.py', ('s4, CIFAR-100', 'rdarts')),
    ],
)
def test_spaces_and_data_sets_are_rows_and_methods_columns(path, expected):
    assert group_of(path, load_config(CONFIGS / path)) == expected


def test_a_data_set_says_how_it_is_called():
    assert data_names('ImageNet16120') == ('in16', 'ImageNet16-120')
    assert data_names('ImageFolder') == ('ImageFolder', 'ImageFolder')
    assert data_names('Unknown') == ('Unknown', 'Unknown')


def test_two_configs_of_one_place_in_the_table():
    cfg = load_config(CONFIGS / 'search' / 'darts_s2_c10.py')
    with pytest.raises(UserError, match='darts_s2_c10 and darts_c10_s2 are both darts in s2, CIFA'):
        groups_of({'darts_s2_c10.py': cfg, 'darts_c10_s2.py': cfg})


def test_seeds_are_those_with_an_error():
    row = dict(skip_connections=1, seconds=60, parameters=2e6)
    found = {0: dict(row, error=4.0), 1: dict(row, error=6.0), 2: dict(skip_connections=3)}
    table = error_table(dict(a_s2=found), dict(a_s2=('s2, CIFAR-10', 'a')))
    assert table.rows == [
        ['s2, CIFAR-10', '5.00 ± 1.41', '4.00', '2.00 ± 0.00', '1.7', '-', '0:01:00', '-', '-', '2']
    ]
    few = ['5.00 ± 1.41', '4.00', '2.00 ± 0.00', '1.7', '0:01:00', '2']
    assert table.short.rows == [['s2, CIFAR-10', *few]]
    assert table.short.short.rows == [['s2, CIFAR-10: a', *few]]


def test_steps_memory_and_the_least_margin_are_for_wide_tables():
    row = dict(skip_connections=1, seconds=60, steps=2000, memory_mb=900.4)
    found = {0: dict(row, margin=0.2), 1: dict(row, margin=0.5 * NOISE, steps=1000), 2: row}
    cells = accuracy_table(dict(a=found), dict(best=dict.fromkeys(COLUMN_NAMES)))
    names = ('steps', 'memory (MB)', 'margin')
    at = [cells.header.index(name) for name in names]
    assert [cells.rows[1][i] for i in at] == ['1,667', '900', f'{NOISE / 2:.1e} *']
    assert [cells.rows[0][i] for i in at] == ['-', '-', '-']
    assert not set(names) & set(cells.short.header)


LONG = 'a_method_of_a_name_that_is_longer_than_any_line_of_this_table_has_room_for_nb201_c10'


def test_queries_are_a_column_where_a_search_has_asked():
    row = dict(skip_connections=1, seconds=0.25)
    asked = {seed: dict(row, queries=1000 + seed) for seed in range(3)}
    methods, groups = dict(a=asked, b={0: row}), dict(a=('s2, C10', 'a'), b=('s2, C10', 'b'))
    table = error_table(methods, groups)
    assert table.rows[0][4:11] == ['1.0', '1,001', '-', '0.25 s', '-', '-', '3']
    assert table.rows[0][14:] == ['1.0', '-', '-', '0.25 s', '-', '-', '1']
    assert len(table.short.header) == len(table.short.rows[0]) == 15
    assert [line[4:] for line in table.short.short.rows] == [
        ['1.0', '1,001', '0.25 s', '3'],
        ['1.0', '-', '0.25 s', '1'],
    ]
    cells = accuracy_table(methods, {})
    at = cells.header.index('queries')
    assert [line[at] for line in cells.rows] == ['1,001', '-']
    assert 'queries' in cells.short.header
    del methods['a'], groups['a']
    for table in (error_table(methods, groups), accuracy_table(methods, {})):
        assert 'queries' not in table.header


def made_up(seed):
    """Figures as wide as they can be."""
    accuracies = {f'{d}_{s}': (100.0, 20.0)[seed % 2] for d, s in COLUMNS}
    costs = dict(skip_connections=12, seconds=2e6, memory_mb=123456.0, parameters=123e6)
    costs['cut'] = dict(after=1, of=2, unit='epoch')
    costs.update(steps=1_000_000, margin=1e-10, machine='AMD EPYC', genotype='x' * 90)
    return dict(accuracies, **costs, error=(10.0, 100.0)[seed % 2])


@pytest.mark.parametrize(('seeds', 'asked'), [(1, False), (2, False), (6, False), (6, True)])
@pytest.mark.parametrize('top_5', [False, True])
def test_what_is_printed_fits_a_line(seeds, asked, top_5):
    found = {seed: made_up(seed) for seed in range(seeds)}
    if top_5:
        found = {seed: dict(figures, error_top5=100.0) for seed, figures in found.items()}
    if asked:
        found = {seed: dict(figures, queries=20_000) for seed, figures in found.items()}
    methods = {'ours': found, LONG: found, f'{LONG}, without none': {}}
    cell = dict(mean=50.0, deviation=12.34, quartile_1=10.0, median=20.0, quartile_3=30.0)
    constants = {
        name: {f'{d}_{s}': cell for d, s in COLUMNS}
        for name in ('optimal', 'random cell', 'best of 1000000 random')
    }
    places = {name: ('nas_bench_201, CIFAR-10', name) for name in ('ours', LONG)}
    groups = {'ours': ('darts, CIFAR-10', 'ours'), LONG: ('darts, CIFAR-10', LONG)}
    groups[f'{LONG}, without none'] = (f's2, {LONG}', 'ours')
    for tables, note, _ in (
        report_cells(methods, constants, places),
        report_networks(methods, groups),
    ):
        short = as_text(tables, note, 100)
        whole = as_text(tables, note)
        assert max(map(len, short.splitlines())) <= 100 < max(map(len, whole.splitlines()))
        assert '--wide' in short and '--wide' not in whole
        mean = percent(Summary.of([v['error'] for v in found.values()]))
        assert (mean in short) == (mean in whole)
        columns = [line for line in short.splitlines() if line.startswith(('method ', 'space,'))]
        assert len(columns) == 1 and 'time' in columns[0]
        assert ('queries' if asked else 'skips') in columns[0]
    # no part of a name is lost
    table = Table('x', 'y', ['method', 'seeds'], [[LONG, '1'], ['other', '2']])
    *_, first, second, third, last = table.as_text(40).splitlines()
    assert first.split()[1] == '1' and last.split() == ['other', '2']
    assert first.split()[0] + second.strip() + third.strip() == LONG
    # what fits is printed as the files have it
    tables = [found_table(dict(ours={0: dict(genotype='cell')}))]
    assert as_text(tables, '', 100) == as_text(tables, '')


def test_top_5_errors_stand_beside_those_they_were_measured_with():
    groups = {name: ('mobilenet_like, ImageNet', name) for name in ('a', 'b', 'c')}
    methods = {
        'a': {0: dict(made_up(0), error=25.0, error_top5=7.5), 1: dict(made_up(1), error=27.0)},
        'b': {0: dict(made_up(0), error=30.0)},
        'c': {},
    }
    table = error_table(methods, groups)
    (row,) = table.rows
    shown = dict(zip(table.header, row, strict=True))
    columns = table.header[1:4], row[1:4], shown['c: error (%)']
    assert columns == (
        ['a: error (%)', 'best (%)', 'top-5 error (%)'], ['26.00 ± 1.41', '25.00', '7.50'], '-'
    )  # fmt: skip
    width = (len(table.header) - 1) // 3
    assert row[1 + width : 4 + width] == ['30.00', '30.00', '-'] and row[width] == '2'
    assert row[1 + 2 * width : 5 + 2 * width] == ['-'] * 4 and row[-1] == '0'
    del methods['a'][0]['error_top5']
    assert 'top-5 error (%)' not in error_table(methods, groups).header


def test_seeds_are_paired_of_searches_on_the_same_data():
    names = ('a_c10', 'a_c100', 'b_c10')
    methods = {name: {seed: made_up(seed) for seed in range(2)} for name in names}
    methods['a_c10, without none'] = methods['a_c10']
    rows = dict(c10='nas_bench_201, CIFAR-10', c100='nas_bench_201, CIFAR-100')
    groups = {name: (rows[name[2:]], name[0]) for name in names}
    cell = dict(mean=50.0, deviation=12.34, quartile_1=10.0, median=20.0, quartile_3=30.0)
    constants = {'random cell': {f'{d}_{s}': cell for d, s in COLUMNS}}
    _, _, data = report_cells(methods, constants, groups)
    pairs = {(row['left'], row['right']) for row in data['differences']}
    assert pairs == {
        ('a_c10', 'b_c10'),
        ('a_c10', 'a_c10, without none'),
        ('b_c10', 'a_c10, without none'),
        *((name, 'random cell') for name in methods),
    }
