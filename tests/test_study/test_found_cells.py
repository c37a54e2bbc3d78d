"""What each run found: cells, margins and processors."""

from __future__ import annotations

import pytest

from rdarts.study.figures import WITHOUT_NONE
from rdarts.study.found_cells import (
    MOST_PRINTED,
    NOISE,
    about_runs,
    found_table,
    machines_of,
    margin_text,
)
from rdarts.study.result_tables import costs


def figures(margin=0.5, machine='one, AVX2', **more):
    return dict(genotype='cell', margin=margin, machine=machine, **more)


def test_a_margin_below_the_noise_is_marked():
    assert margin_text(None) == '-'
    assert margin_text(0.1234) == '1.2e-01'
    assert margin_text(NOISE) == f'{NOISE:.1e}'
    assert margin_text(NOISE * 0.99).endswith(' *')
    assert margin_text(0.0) == '0.0e+00 *'


def test_rows_are_runs_with_the_letter_of_their_processor():
    other = figures(NOISE / 10, 'two, AVX512')
    methods = dict(a={0: figures(), 1: other}, b={0: figures(None, None)})
    table = found_table(methods)
    assert table.header == ['search', 'seed', 'cell', 'margin', 'CPU']
    assert table.rows == [
        ['a', '0', 'cell', '5.0e-01', 'A'],
        ['a', '1', 'cell', margin_text(NOISE / 10), 'B'],
        ['b', '0', 'cell', '-', '-'],
    ]
    text = about_runs(methods)
    assert 'CPU A: one, AVX2 (1 run).\nCPU B: two, AVX512 (1 run).\n' in text
    assert 'CPU not recorded: 1 run.' in text and '*: 1 cell with a margin below' in text
    assert about_runs(dict(a={0: figures()})) == '\nCPU A: one, AVX2 (1 run).\n'
    assert about_runs({}) == ''


def test_searches_whose_time_was_over_are_named():
    cut = [dict(after=n, of=5, unit='epoch') for n in (3, 2)]
    methods = dict(
        a={0: figures(cut=cut[0]), 1: figures(cut=cut[1]), 2: figures(cut=None)},
        b={0: figures(cut=dict(after=1200, of=5000, unit='query'))},
    )
    text = ' '.join(about_runs(methods).split())
    assert (
        '†: a: the time of 2 of 3 searches was over (max_seconds) after 2 to 3 of 5 epochs: '
        'what was found then counts. †: b: the time of the search was over (max_seconds) after '
        '1,200 of 5,000 queries: what' in text
    )
    assert [costs(found)[-2] for found in methods.values()] == ['-', '-']
    assert costs({0: figures(seconds=60, cut=cut[0])})[-2] == '0:01:00 †'


def test_a_cell_without_none_is_of_the_same_run():
    cut, narrow = dict(after=3, of=5, unit='epoch'), NOISE / 2
    own, other = figures(cut=cut), figures(narrow, None, cut=None)
    methods = dict(a={0: own, 1: other}) | {
        f'a{WITHOUT_NONE}': {0: dict(own, margin=narrow), 1: other}
    }
    lines = about_runs(methods).splitlines()
    assert sum(line.startswith('†') for line in lines) == 1
    assert 'CPU A: one, AVX2 (1 run).' in lines and 'CPU not recorded: 1 run.' in lines
    assert any(line.startswith('*: 3 cells with a margin below') for line in lines)


def test_a_cell_of_the_table_has_its_index():
    table = found_table(dict(a={0: figures(index=1462)}, b={0: figures()}))
    assert [row[2] for row in table.rows] == ['1462', '-']
    assert table.short.header == ['search', 'seed', 'index', 'margin', 'CPU']


def test_of_many_runs_the_narrow_ones_are_printed():
    clear = {seed: figures() for seed in range(MOST_PRINTED)}
    assert len(found_table(dict(a=clear)).short.rows) == MOST_PRINTED
    found = {**clear, MOST_PRINTED: figures(NOISE / 2)}
    table = found_table(dict(a=found))
    assert len(table.rows) == MOST_PRINTED + 1
    assert [row[1] for row in table.short.rows] == [str(MOST_PRINTED)]
    assert f'below {NOISE:g}' in table.short.title


@pytest.mark.parametrize(('number', 'letters'), [(0, 'A'), (25, 'Z'), (26, 'AA'), (53, 'BB')])
def test_letters_of_many_processors(number, letters):
    found = {seed: figures(machine=str(seed)) for seed in range(number + 1)}
    assert machines_of(dict(a=found))[str(number)] == letters
