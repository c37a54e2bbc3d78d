"""Runs for executors of clusters: of Python code, and a search whose job is killed in mid-run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from forks import MEASURES
from helpers import TOOLS, run_tool, write_small_search
from same_runs import assert_same_run

from rdarts.study.executors.base import Executor
from rdarts.study.queue import run_all
from rdarts.study.run import Run
from rdarts.study.searches import train_command

TESTS = Path(__file__).resolve().parent
LAST = 'epoch_3_iter_12.pth'


def coded_run(folder: Path, code: str, *args: str, **keys: Any) -> Run:
    """A run of Python code whose first argument is its folder."""
    command = [sys.executable, '-S', '-c', code, str(folder), *args]
    return Run(folder.name, folder, command, dict(seed=0), **keys)


def search_with_a_killed_job(tmp_path: Path, executor: Executor, monkeypatch: Any) -> None:
    """Its worker is killed after a checkpoint: it goes on, and ends as one that nothing disturbed.

    Args:
        tmp_path: An empty folder.
        executor: What runs it.
        monkeypatch: Pytest's.
    """
    path = os.pathsep.join([str(TESTS), str(TOOLS.parent), os.environ.get('PYTHONPATH', '')])
    monkeypatch.setenv('PYTHONPATH', path)
    monkeypatch.delenv(MEASURES, raising=False)  # of the searches, new programs
    whole = write_small_search(tmp_path, name='whole.py', images=32)
    args = ['train.py', whole, '--work-dir', tmp_path / 'whole', '--seed', 0]
    done = run_tool(args, env=dict(PYTHONPATH=path))
    assert done.code == 0, done.err

    hook = dict(type='KillParentOnce', number=8)
    config = write_small_search(tmp_path, hook, name='cut.py', images=32)
    folder = tmp_path / 'cut'
    command = train_command(str(config), folder, 0, ())
    run = Run('cut', folder, command, dict(seed=0), resume=('--resume',))
    run_all([run], executor)
    assert run.state() == 'done', run.error
    assert (folder / 'killed.txt').exists()
    log = (folder / 'run.log').read_text()
    assert 'resume' in log.lower(), log
    assert_same_run(folder, tmp_path / 'whole', LAST)
