"""What a comparison refuses, loads, lists, and retrains; no search is run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from synthetic_table import table_lines

from rdarts.configuration.folder import configs_folder
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.study import comparison
from rdarts.study.comparison import check, compare, expect
from rdarts.study.executors.local import LocalExecutor
from rdarts.study.searches import Comparison, searches


@pytest.fixture
def plan(tmp_path):
    """One method, two seeds, a retraining."""
    search, retrain = (
        str(configs_folder() / name) for name in ('search/darts_s2_c10.py', 'retrain/darts_c10.py')
    )
    return Comparison([search], str(tmp_path / 'work'), seeds=2, retrain=retrain)


@pytest.fixture
def loads(monkeypatch):
    """The configs that are loaded."""
    found, load = [], comparison.load_config

    def counted(path, options=None):
        found.append(Path(path).stem)
        return load(path, options)

    monkeypatch.setattr(comparison, 'load_config', counted)
    return found


def test_each_config_is_loaded_once(plan, loads, monkeypatch, capsys):
    """Whether or not it is measured, and with however many seeds."""
    measured = []

    def dry_run(cfg):
        measured.append(Path(cfg.work_dir).name)
        return dict(expected_seconds=60.0)

    monkeypatch.setattr(comparison, 'dry_run', dry_run)
    monkeypatch.setattr(comparison, 'check_model', lambda cfg: None)
    for places, last in (
        (1, 'expected: 0:02:00 for the searches, one after another'),
        (2, 'expected: 0:01:00 for the searches, 2 at a time'),
        (None, 'new     darts_s2_c10, seed 1 (retraining)  not measured'),  # a cluster says when
    ):
        loads.clear()
        expect(plan, places=places)
        assert loads == ['darts_s2_c10', 'darts_c10']
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == last
        assert sum(line.startswith('new     ') for line in lines) == 4
    assert measured == ['seed_0'] * 3


def test_what_runs_is_listed(plan, capsys):
    run = searches(plan, check(plan).searches)[0].run
    code = 'import time; time.sleep(60)'
    run.command = [sys.executable, '-S', '-c', code, str(run.folder)]
    executor = LocalExecutor()
    run.start(executor)
    try:
        expect(plan, measures=False)
    finally:
        executor.cancel([run.job])
    states = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert states == ['running', 'new', 'new', 'new']


def test_a_cell_is_retrained_once_its_search_has_ended(plan, loads, monkeypatch):
    """And not once all have: the second search has found nothing yet."""
    found = []

    def run_all(runs, executor, retries, follow):
        folder = runs[0].folder
        folder.mkdir(parents=True)
        cell = load_genotype('DARTS_V2').to_dict()
        (folder / 'genotype.json').write_text(json.dumps(cell))
        (following,) = follow(runs[0])
        found.extend([following.name, following.folder, *follow(following)])
        raise UserError('enough')

    monkeypatch.setattr(comparison, 'run_all', run_all)
    with pytest.raises(UserError, match='enough'):
        compare(plan)
    folder = Path(plan.work_dir) / 'darts_s2_c10' / 'seed_0' / 'darts_c10'
    assert found == ['darts_s2_c10, seed 0 (retraining)', folder]
    assert loads == ['darts_s2_c10', 'darts_c10']


def test_a_table_that_lacks_a_data_set_is_one_line_before_any_run(tmp_path):
    lines = [line.split(',') for line in table_lines()]
    kept = [i for i, name in enumerate(lines[0]) if not name.startswith('imagenet16_120')]
    table = tmp_path / 'two_data_sets.csv'
    table.write_text(''.join(','.join(line[i] for i in kept) + '\n' for line in lines))
    config = str(configs_folder() / 'search/darts_nb201_digits.py')
    work = tmp_path / 'work'
    with pytest.raises(UserError) as error:
        compare(Comparison([config], str(work), seeds=1, table=str(table)))
    line = str(error.value)
    assert line.startswith(f'table {table} lacks the columns imagenet16_120_test_12, ')
    assert '\n' not in line and not work.exists()
