"""What a comparison refuses, loads, lists, and retrains; no search is run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from synthetic_table import table_lines

from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.errors import RunFailed, UserError
from rdarts.genotypes import load_genotype
from rdarts.search_spaces import build_space
from rdarts.study import checks, comparison, expectation
from rdarts.study.checks import check
from rdarts.study.comparison import compare, expect
from rdarts.study.executors.local import LocalExecutor
from rdarts.study.scored_cells import draw_cells
from rdarts.study.searches import Comparison, retrainings, searches


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
    found, load = [], checks.load_config

    def counted(path, options=None):
        found.append(Path(path).stem)
        return load(path, options)

    monkeypatch.setattr(checks, 'load_config', counted)
    return found


def test_each_config_is_loaded_once(plan, loads, monkeypatch, capsys):
    """Whether or not it is measured, and with however many seeds."""
    measured = []

    def dry_run(cfg):
        measured.append((Path(cfg.work_dir).name, cfg.model.backbone.type))
        return dict(expected_seconds=60.0 if 'space' in cfg.model.backbone else 240.0)

    monkeypatch.setattr(expectation, 'dry_run', dry_run)
    drawn = 'Retrainings of cells that are not found yet: measured with random cells.'
    parts = '(0:02:00 of searches, 0:08:00 of retrainings)'
    for places, last in (
        (1, f'expected: 0:10:00 {parts}, one after another'),
        (2, f'expected: 0:05:00 {parts}, 2 at a time'),
        (3, f'expected: 0:05:00 {parts}, 3 at a time'),  # a retraining waits for its search
        (None, drawn),  # a cluster says when
    ):
        loads.clear()
        expect(plan, places=places)
        assert loads == ['darts_s2_c10', 'darts_c10']
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == last and drawn in lines
        assert [line.split()[-1] for line in lines if line.startswith('new     ')] == [
            '0:01:00', '0:04:00', '0:01:00', '0:04:00'
        ]  # fmt: skip
    assert measured == [('seed_0', 'rdarts.DARTSSupernet'), ('seed_0', 'rdarts.DARTSNet')] * 4


def test_a_retraining_is_measured_with_the_cell_that_was_found(plan, monkeypatch, capsys):
    """And what is left of one that was interrupted, by its iterations."""
    checked = check(plan)
    search = searches(plan, checked.searches)[1].run
    found = load_genotype('DARTS_V2')
    search.folder.mkdir(parents=True)
    (search.folder / 'genotype.json').write_text(json.dumps(found.to_dict()))
    (search.folder / 'run.json').write_text(json.dumps(dict(settings=search.settings, ended=True)))
    cells = []

    def dry_run(cfg):
        if 'space' in cfg.model.backbone:
            return dict(expected_seconds=60.0)
        cells.append(load_genotype(json.dumps(cfg.model.backbone.genotype.to_dict())))
        return dict(expected_seconds=240.0, iterations=1200)

    monkeypatch.setattr(expectation, 'dry_run', dry_run)
    expect(plan)
    assert cells == [found]  # also for the search that has not ended
    out = capsys.readouterr().out
    assert 'random cells' not in out and 'expected: 0:09:00 (0:01:00 of searches, 0:08:00' in out
    ended = searches(plan, checked.searches)[1:]
    (training,) = retrainings(plan, ended, checked.trainings).values()
    training.folder.mkdir()
    (training.folder / 'epoch_3_iter_300.pth').touch()
    stored = dict(settings=training.settings, ended=False)
    (training.folder / 'run.json').write_text(json.dumps(stored))
    expect(plan)
    out = capsys.readouterr().out
    assert f'resume  {training.name}  0:03:00' in out


def test_what_cannot_be_measured_is_named_and_the_rest_counts(plan, monkeypatch, capsys):
    def dry_run(cfg):
        if 'space' not in cfg.model.backbone:
            raise UserError('no such images')
        return dict(expected_seconds=60.0)

    monkeypatch.setattr(expectation, 'dry_run', dry_run)
    expect(plan)
    out = capsys.readouterr().out
    assert out.count('(retraining)  not measured') == 2
    name = f'{plan.retrain}, a cell of s2'
    assert f'not measured: {name}: no such images' in ' '.join(out.split())
    assert out.endswith(
        'expected: 0:02:00 (0:02:00 of searches, 0:00:00 of retrainings), one after another, '
        'without 2 runs not measured\n'
    )

    def nothing(cfg):
        raise RunFailed('no memory')

    monkeypatch.setattr(expectation, 'dry_run', nothing)
    with pytest.raises(UserError, match='^no memory$'):
        expect(plan)


@pytest.mark.parametrize('name', ['darts', 's4', 'mobilenet_like'])
def test_a_random_cell_of_each_space_can_be_retrained(name):
    space = build_space(name)
    cfg = load_config(configs_folder() / 'retrain' / f'{next(iter(space.retraining.values()))}.py')
    (cell,) = draw_cells(space, 1, seed=0)
    set_genotype(cfg, json.dumps(cell.to_dict()))
    check_model(cfg)
    assert cfg.model.backbone.genotype.to_dict() == cell.to_dict()


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
