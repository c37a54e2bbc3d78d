"""Sweeps: trials are pruned, shared, given up and gone on with; what they found is written."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import run_tool, write_small_search
from mmengine.config import Config

from rdarts.errors import Interrupted, UserError
from rdarts.study import sweep as sweeps
from rdarts.study.sweep import Sweep, check_sweep, open_study, run_sweep
from rdarts.study.sweep_files import trial_rows, write_sweep
from rdarts.study.sweep_params import read_parameters
from rdarts.study.sweep_values import goal_rows

optuna = pytest.importorskip('optuna')
# A search that takes no time: accuracy 50 + x + epoch; fails for x below 0
SEARCH = """
import json, os, sys, time
folder, epochs, seconds, resume = *sys.argv[1:4], '--resume' in sys.argv
x = float(dict(text.split('=') for text in sys.argv if '=' in text)['x'])
with open(folder + '/starts', 'a') as file:
    file.write('resume\\n' if resume else 'new\\n')
if x < 0:
    print('error: x is below 0')
    sys.exit(2)
log = folder + '/search_log.jsonl'
done = len(open(log).readlines()) if resume else 0
for epoch in range(done + 1, int(epochs) + 1):
    with open(log, 'a') as file:
        row = {'kind': 'val', 'epoch': epoch, 'accuracy/top1': 50 + x + epoch}
        file.write(json.dumps(row) + '\\n')
    open(folder + '/epoch_1_iter_1.pth', 'w').close()
    time.sleep(float(seconds))
"""


@pytest.fixture
def quick(monkeypatch):
    """Searches that are no searches; what waits, waits shortly."""
    monkeypatch.setattr(sweeps, 'POLL', 0.02)
    monkeypatch.setattr(sweeps.LocalExecutor, 'interval', 0.02)

    def searches(epochs=3, seconds=0.0):
        monkeypatch.setattr(
            sweeps,
            'train_command',
            lambda config, folder, seed, options: [
                *(sys.executable, '-S', '-c', SEARCH),
                *(str(folder), str(epochs), str(seconds), *options),
            ],
        )

    searches()
    return searches


def make_sweep(tmp_path, **keys):
    parameters = read_parameters(['x=uniform:0:10'])
    return Sweep('config.py', **dict(dict(parameters=parameters, work_dir=str(tmp_path)), **keys))


def run(sweep):
    return run_sweep(sweep, Config(dict(a=1)))


def states(study):
    return [trial.state.name for trial in study.trials]


def starts(tmp_path):
    return {
        path.parent.name: path.read_text().split() for path in sorted(tmp_path.glob('*/starts'))
    }


def test_trials_are_run_and_written(quick, tmp_path, capsys):
    sweep = make_sweep(tmp_path, trials=3, pruner='none')
    study = run(sweep)
    assert states(study) == ['COMPLETE'] * 3
    for trial in study.trials:
        assert trial.value == 53 + trial.params['x'] == trial.intermediate_values[3]
    write_sweep(study, sweep)
    out = capsys.readouterr().out
    with open(tmp_path / 'sweep.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['folder'] for row in rows] == [f'trial_{index:04d}' for index in range(3)]
    assert [float(row['value']) for row in rows] == [trial.value for trial in study.trials]
    assert {row['state'] for row in rows} == {'ended'} and {row['epochs'] for row in rows} == {'3'}
    best = max(study.trials, key=lambda trial: trial.value)
    assert f'train.py config.py --cfg-options x={best.params["x"]!r}' in out
    assert '3 trials: 3 ended' in out
    assert (tmp_path / 'sweep.png').read_bytes().startswith(b'\x89PNG')
    # the same again has nothing to do; with more trials it goes on, and draws the same ones
    assert len(run(sweep).trials) == 3
    more = run(make_sweep(tmp_path, trials=4, pruner='none'))
    at_once = run(make_sweep(tmp_path / 'other', trials=4, pruner='none'))
    assert [t.params for t in more.trials] == [t.params for t in at_once.trials]


def test_what_is_worse_is_ended_early(quick, tmp_path):
    quick(epochs=20, seconds=0.05)
    sweep = make_sweep(tmp_path, trials=3, startup=1, warmup=2)
    study = open_study(sweep)
    for x in (5.0, 1.0, 9.0):
        study.enqueue_trial(dict(x=x))
    study = run(sweep)
    assert states(study) == ['COMPLETE', 'PRUNED', 'COMPLETE']
    rows = trial_rows(study, sweep)
    assert 2 <= rows[1]['epochs'] < 20 and rows[1]['value'] == 51 + rows[1]['epochs']
    assert rows[0]['epochs'] == rows[2]['epochs'] == 20


def test_a_search_that_fails_is_a_row(quick, tmp_path, capsys):
    sweep = make_sweep(tmp_path, trials=3, parameters=read_parameters(['x=uniform:-9:9']))
    study = open_study(sweep)
    for x in (-1.0, 2.0, 3.0):
        study.enqueue_trial(dict(x=x))
    study = run(sweep)
    assert states(study) == ['FAIL', 'COMPLETE', 'COMPLETE']
    write_sweep(study, sweep)
    assert trial_rows(study, sweep)[0]['error'] == 'x is below 0'
    assert '3 trials: 1 failed, 2 ended' in capsys.readouterr().out


def test_a_signal_stops_and_the_same_command_goes_on(quick, tmp_path):
    quick(epochs=30, seconds=0.05)
    sweep = make_sweep(tmp_path, trials=1)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(Interrupted, match='SIGTERM: the same command again goes on'):
        run(sweep)
    before = len((tmp_path / 'trial_0000/search_log.jsonl').read_text().splitlines())
    assert before < 30 and states(open_study(sweep)) == ['FAIL', 'WAITING']
    study = run(sweep)
    assert states(study) == ['FAIL', 'COMPLETE']
    assert study.trials[1].params == study.trials[0].params
    assert starts(tmp_path) == dict(trial_0000=['new', 'resume'])
    assert [epoch for epoch, _ in goal_rows(tmp_path / 'trial_0000', 'val')] == [*range(1, 31)]
    assert len(trial_rows(study, sweep)) == 1


def run_apart(sweep):
    os.setsid()
    run(sweep)


def test_processes_share_a_sweep_and_one_that_is_killed_is_missed(quick, tmp_path, monkeypatch):
    quick(epochs=10, seconds=0.05)
    sweep = make_sweep(tmp_path, trials=6, heartbeat=1, pruner='none')
    open_study(sweep)  # before they fork
    fork = multiprocessing.get_context('fork')
    first, second = (fork.Process(target=run_apart, args=(sweep,)) for _ in range(2))
    first.start()
    deadline = time.monotonic() + 30
    while not starts(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.kill()  # and what it has started goes on by itself
    second.start()
    first.join()
    second.join(90)
    assert second.exitcode == 0
    study = open_study(sweep)
    found = states(study)
    assert found.count('COMPLETE') == 6 and found.count('FAIL') == 1 and len(found) == 7
    rows = trial_rows(study, sweep)
    assert len({row['folder'] for row in rows}) == 6 and len(starts(tmp_path)) == 6
    assert study.trials[0].params == next(
        trial.params for trial in study.trials[1:] if trial.user_attrs['folder'] == 'trial_0000'
    )


@pytest.mark.parametrize(
    ('sampler', 'pruner'), [('tpe', 'median'), ('random', 'halving'), ('gp', 'none')]
)
def test_samplers_and_pruners_are_optunas(quick, tmp_path, sampler, pruner):
    study = run(make_sweep(tmp_path, trials=2, sampler=sampler, pruner=pruner, startup=9))
    assert len(study.trials) == 2


def test_two_sweeps_are_not_mixed(quick, tmp_path):
    open_study(make_sweep(tmp_path))
    with pytest.raises(UserError, match=r'a sweep of other settings \(parameters, goal\): another'):
        open_study(make_sweep(tmp_path, parameters=read_parameters(['x=int:0:9']), goal='cifar10'))
    open_study(make_sweep(tmp_path, trials=99))


@pytest.mark.parametrize(
    'storage', ['nothing', 'sqlite:////proc/none/sweep.db', 'mysql+none://host/sweep']
)
def test_a_storage_that_cannot_be_used_is_one_line(storage, tmp_path):
    with pytest.raises(UserError, match='no storage of a sweep: ') as error:
        open_study(make_sweep(tmp_path, storage=storage))
    assert '\n' not in str(error.value)


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / sweeps.STORAGE).write_text('no database')
    with pytest.raises(UserError, match='no storage of a sweep: ') as error:
        open_study(make_sweep(tmp_path))
    assert '\n' not in str(error.value)


def test_a_goal_that_is_not_logged_ends_the_sweep(quick, tmp_path):
    with pytest.raises(UserError, match='its log has no accuracy of --goal cifar10'):
        run(make_sweep(tmp_path, goal='cifar10'))


def test_the_tables_accuracy_is_that_of_validation(tmp_path):
    row = dict(kind='epoch', epoch=2, benchmark=dict(cifar10=dict(valid=80.5, test=90.0)))
    (tmp_path / 'search_log.jsonl').write_text(json.dumps(row) + '\n')
    assert goal_rows(tmp_path, 'cifar10') == [(2, 80.5)] and goal_rows(tmp_path, 'val') == []


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(goal='cifar'), "--goal: 'cifar' is none: did you mean 'cifar10'"),
        (
            dict(parameters=read_parameters(['default_hooks.architect.lamda_=log:.1:1'])),
            'did you mean',
        ),
        (
            dict(parameters=read_parameters(['default_hooks.architect.lambda_=uniform:-1:1'])),
            'default_hooks.architect.lambda_ must be at least 0',
        ),
        (dict(config='configs/search/none.py'), 'none.py'),
    ],
)
def test_mistakes_are_known_before_a_trial(keys, message, tmp_path):
    config = str(Path(__file__).parents[2] / 'configs/search/rdarts_nb201_digits.py')
    parameters = read_parameters(['default_hooks.architect.lambda_=log:.1:1'])
    sweep = Sweep(
        **dict(dict(config=config, parameters=parameters, work_dir=str(tmp_path)), **keys)
    )
    with pytest.raises(UserError, match=message) as error:
        check_sweep(sweep)
    assert '\n' not in str(error.value) and not any(tmp_path.iterdir())


@pytest.mark.slow
def test_the_tool_sweeps_lambda_of_a_search(tmp_path):
    config = write_small_search(tmp_path, images=16)
    args = ['analysis/sweep.py', config, '--param', 'default_hooks.architect.lambda_=log:0.01:1']
    args += ['--trials', 2, '--work-dir', tmp_path / 'work']
    done = run_tool(args, timeout=300, forks=True)
    assert done.code == 0, done.out + done.err
    assert '2 trials: 2 ended' in done.out
    with open(tmp_path / 'work/sweep.csv') as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        folder = tmp_path / 'work' / row['folder']
        config = json.loads((folder / 'config.json').read_text())
        lambda_ = config['default_hooks']['architect']['lambda_']
        assert lambda_ == float(row['default_hooks.architect.lambda_'])
        assert goal_rows(folder, 'val')[-1] == (3, float(row['value']))
    assert rows[0]['default_hooks.architect.lambda_'] != rows[1]['default_hooks.architect.lambda_']
