"""Logs of any length, as a search writes them, and what they cost."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest
from helpers import run_tool

from rdarts.configuration.load import load_config
from rdarts.errors import RunFailed, UserError
from rdarts.measure.log_growth import measure_all, write_log
from rdarts.results.log import read_search_log
from rdarts.results.search_run import SearchRun

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'search' / 'rdarts_nb201_c10.py'
TOOL = 'benchmarks/log_growth.py'


def test_the_log_is_one_of_a_search(tmp_path):
    write_log(tmp_path, load_config(CONFIG), epochs=3, rows=2)
    run = SearchRun(tmp_path, 'search')
    assert [row['epoch'] for row in run.epochs] == [1, 2, 3]  # and each is whole
    rows = read_search_log(tmp_path, 'iter')
    assert len(rows) == 6 and list(run.validation()) == [1, 2, 3]
    assert rows[-1]['iter'] == run.epochs[-1]['iter'] == 60
    assert list(run.means('arch_cosine_total', 'cell')) == [1, 2, 3]
    assert len({row['mean_entropy'] for row in run.epochs}) == 3


@pytest.mark.slow
def test_the_tool():
    done = run_tool([TOOL, CONFIG, '--epochs', 2, 4, '--rows', 1, '--json'], forks=True)
    assert done.code == 0, done.err
    two, four = map(json.loads, done.out.splitlines())
    assert (two['epochs'], four['epochs']) == (2, 4) and two['log_mb'] < four['log_mb']
    assert all(value > 0 for value in two.values())


def test_a_config_that_is_no_search_is_refused():
    retrain = str(CONFIG.parents[1] / 'retrain' / 'darts_c10.py')
    with pytest.raises(UserError, match='darts_c10.py is no config of a search: no arch_optim'):
        measure_all(retrain, [1], 1, ['not started'])


def test_a_process_that_is_killed_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    code = 'import os, sys; open(os.path.join(sys.argv[-1], "log"), "w"); os.kill(os.getpid(), 9)'
    with pytest.raises(RunFailed, match='^7 epochs: killed by signal 9$'):
        measure_all(str(CONFIG), [7], 1, [sys.executable, '-c', code])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('options', [['--epochs', 0], ['--rows', 0]])
def test_mistakes(options):
    done = run_tool([TOOL, CONFIG, *options])
    assert done.code == 2 and 'error: --epochs and --rows must be 1 or more' in done.err
