"""What a comparison writes of runs that have ended."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from synthetic_table import table_lines
from test_visualization.page import data_of

from rdarts.benchmarks import NASBench201
from rdarts.configuration.load import load_config
from rdarts.study import comparison, price
from rdarts.study.run import Run
from rdarts.study.searches import Comparison, Search
from rdarts.study.statistics import COLUMNS

REMARK = 'Ours; small: 2 epochs & <64> pixels'
ODD = 'b\udcff_nb201_c10'  # of a file whose name is no UTF-8
CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'search' / 'darts_nb201_c10.py'


@pytest.fixture(scope='module')
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp('table') / 'nasbench201.csv'
    path.write_text('\n'.join(table_lines()) + '\n')
    return NASBench201(path)


@pytest.fixture
def written(tmp_path, table, monkeypatch):
    """A function that compares ended runs: method -> its accuracies, one a seed; the folder."""
    monkeypatch.setattr(price, 'SEARCHES', 1)
    monkeypatch.setattr(comparison, 'run_all', lambda *args: None)
    monkeypatch.setattr(comparison, 'lock_work_dir', lambda path: None)  # of one process, twice
    monkeypatch.setattr(Run, 'state', lambda *args: 'done')
    cfg = load_config(CONFIG)

    def compare(methods):
        folder = tmp_path / 'work'
        loaded = {f'{name}.py': cfg for name in methods}
        found = {
            name: {
                seed: dict(
                    {f'{d}_{s}': value for d, s in COLUMNS},
                    genotype='x', skip_connections=1, seconds=9.0, index=1,
                )
                for seed, value in enumerate(values)
            }
            for name, values in methods.items()
        }  # fmt: skip
        ended = [
            Search(f'{name}.py', seed, Run(name, folder / name / str(seed), [], {}))
            for name, values in methods.items()
            for seed in range(len(values))
        ]
        monkeypatch.setattr(comparison, 'check', lambda plan: (loaded, {}, table))
        monkeypatch.setattr(comparison, 'searches', lambda *args: ended)
        monkeypatch.setattr(comparison, 'read_all', lambda *args: found)
        plan = Comparison(list(loaded), str(folder), remark=REMARK)
        assert comparison.compare(plan) == 0
        return folder

    return compare


def test_every_form_says_the_scale(written):
    folder = written({'a_nb201_c10': [50.0, 60.0], 'b_nb201_c10': [40.0, 70.0]})
    assert json.loads((folder / 'compare.json').read_text())['remark'] == REMARK
    assert data_of(folder / 'compare.html')['title'] == REMARK
    svg = (folder / 'compare_ranks.svg').read_text()
    assert 'small: 2 epochs &amp; &lt;64&gt; pixels' in ' '.join(svg.split('\n'))
    assert 'too few seeds to tell methods apart' in svg and 'critical' not in svg
    captions = [
        line
        for line in (folder / 'compare.tex').read_text().splitlines()
        if line.startswith(r'\caption{')
    ]
    assert len(captions) >= 4
    assert all(r'small: 2 epochs \& \textless{}64\textgreater{} pixels}' in c for c in captions)


def test_tables_of_an_earlier_comparison_go(written):
    both = {'a_nb201_c10': [50.0, 60.0], 'b_nb201_c10': [40.0, 70.0]}
    folder = written(both)
    (folder / 'comparison.csv').write_text('of another hand')
    assert (folder / 'compare_ranks.csv').is_file()
    assert list(folder.glob('compare_differences_*.csv'))
    assert (folder / 'compare_ranks.png').is_file()
    written({'a_nb201_c10': [50.0]})
    assert not (folder / 'compare_ranks.csv').exists()
    assert not list(folder.glob('compare_differences_*.csv'))
    assert not (folder / 'compare_ranks.png').exists()
    assert (folder / 'compare.csv').is_file() and (folder / 'comparison.csv').is_file()
    assert (folder / 'compare_found.csv').is_file()


def test_a_config_whose_name_is_no_utf_8(written):
    folder = written({'a_nb201_c10': [50.0, 60.0], ODD: [40.0, 70.0]})
    raw = ODD.encode(errors='surrogateescape')
    for suffix in ('txt', 'md', 'csv'):
        assert raw in (folder / f'compare.{suffix}').read_bytes()
    assert raw.replace(b'_', rb'\_') in (folder / 'compare.tex').read_bytes()
    assert ODD in json.loads((folder / 'compare.json').read_text())['methods']
    assert ODD in [name for name, *_ in data_of(folder / 'compare.html')['methods']]


def test_ranks_are_by_the_method_and_every_column_is_in_the_files(written):
    folder = written({'a_nb201_c10': [50.0] * 5, 'b_nb201_c10': [40.0] * 5})
    ranks = list(csv.reader((folder / 'compare_ranks.csv').read_text().splitlines()))
    assert [row[0] for row in ranks[1:]] == ['a', 'b']
    rows = list(csv.reader((folder / 'compare.csv').read_text().splitlines()))
    assert price.COUNTING in rows[0]
    at = rows[0].index(price.COUNTING)
    assert float(rows[-1][at]) > 0
