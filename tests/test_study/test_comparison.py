"""What a comparison refuses, loads, lists, and retrains; no search is run."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from synthetic_queries import write_queries
from synthetic_table import without
from test_visualization.page import data_of

from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.errors import RunFailed, UserError
from rdarts.genotypes import load_genotype
from rdarts.sampling.evaluators import Table
from rdarts.search_spaces import build_space
from rdarts.study import checks, comparison, expectation
from rdarts.study.checks import check
from rdarts.study.comparison import compare, expect
from rdarts.study.executors.base import Outcome
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


class Asks(LocalExecutor):
    """Runs searches that ask the table as they do themselves, but here, and in no time."""

    def __init__(self, table):
        super().__init__(2)
        self.table, self.outcomes = table, {}

    def submit(self, job):
        dataset = 'imagenet16_120' if 'in16' in job.name else 'cifar10'
        outcome = Outcome(0)
        try:
            evaluator = Table(dataset, path=self.table)
            evaluator.prepare(build_space('nas_bench_201'), 0)
            write_queries(job.folder, 'darts_nb201_c10', queries=5)
        except UserError as error:
            outcome = Outcome(2, str(error))
        self.outcomes[job.token] = outcome
        return '1'

    def poll(self, jobs):
        return {job.token: self.outcomes[job.token] for job in jobs}


def test_a_table_that_lacks_a_data_set_fails_what_asks_for_it_alone(tmp_path, capsys):
    """The others are compared on the data sets that it has."""
    table = tmp_path / 'two_data_sets.csv'
    table.write_text('\n'.join(without('imagenet16_120')) + '\n')
    names = ('random_search_nb201_c10', 'local_search_nb201_c10', 'random_search_nb201_in16')
    configs = [str(configs_folder() / f'search/{name}.py') for name in names]
    work = tmp_path / 'work'
    plan = Comparison(configs, str(work), seeds=2, table=str(table))
    assert compare(plan, wide=True, executor=Asks(str(table))) == 1
    out = capsys.readouterr().out
    error = f'NAS-Bench-201: table {table} lacks the data set imagenet16_120'
    for seed in '01':
        name = f'random_search_nb201_in16, seed {seed} (search)'
        assert f'\nfailed  {name}: {error}\n' in out
    warning = f'the table {table} lacks ImageNet16-120: its columns stay empty'
    text = ' '.join(out.split())
    assert text.startswith(f'warning: {warning}') and text.count(warning) == 2
    data = json.loads((work / 'compare.json').read_text())
    assert [len(data['methods'][name]) for name in names] == [2, 2, 0]
    rows = list(csv.reader((work / 'compare.csv').read_text().splitlines()))
    at = [rows[0].index(f'{name} test (%)') for name in ('C10', 'C100', 'IN16')]
    for row in rows[1:-1]:
        found = data['methods'].get(row[0]) or {}
        told = [one['cifar10_test'] for one in found.values()]
        told = told or [data['baselines'][row[0]]['cifar10_test']['mean']]
        assert float(row[at[0]]) == pytest.approx(sum(told) / len(told), abs=0.006)
        assert float(row[at[1]]) > 0 and row[at[2]] in ('', '-')
    assert {one['dataset'] for one in data['differences']} == {'cifar10', 'cifar100'}
    assert data['ranks']['searches'] == 2
    titles = [cells['title'] for cells in data_of(work / 'compare.html')['cells']]
    assert titles == ['CIFAR-10', 'CIFAR-100']
