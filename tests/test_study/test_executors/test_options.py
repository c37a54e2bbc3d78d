"""Options that say where runs run: what does not go together, and what is missing."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from rdarts.errors import UserError
from rdarts.study.executors.base import Resources
from rdarts.study.executors.local import LocalExecutor
from rdarts.study.executors.options import (
    NAMES,
    add_executor_options,
    build_executor,
    check_options,
)


def parsed(*args):
    parser = argparse.ArgumentParser()
    add_executor_options(parser)
    found = vars(parser.parse_args(args))
    assert set(found) == set(NAMES)
    return found


def test_this_machine_is_the_default():
    executor = build_executor(parsed(), None)
    assert isinstance(executor, LocalExecutor) and executor.places == 1
    assert build_executor(parsed(), 3).places == 3


@pytest.mark.parametrize(
    ('args', 'line'),
    [
        (['--gpus', '1'], '--gpus is for --executor slurm or ray'),
        (['--gpus', '0'], '--gpus is for --executor slurm or ray'),
        (['--retries', '0'], '--retries is for --executor slurm or ray'),
        (['--hours', '0'], '--hours is for --executor slurm'),
        (['--executor', 'slurm', '--hours', '0'], '--hours must be more than 0, but is 0'),
        (['--cancel'], '--cancel is for --executor slurm or ray'),
        (['--slurm-partition', 'gpu'], '--slurm-partition is for --executor slurm'),
        (['--executor', 'slurm', '--ray-address', 'x'], '--ray-address is for --executor ray'),
        (['--executor', 'ray', '--hours', '2'], '--hours is for --executor slurm'),
        (['--executor', 'slurm', '--hours', 'nan'], '--hours must be more than 0, but is nan'),
        (['--executor', 'ray', '--cpus', '-1'], '--cpus must be 1 or more, but is -1'),
        (['--executor', 'ray', '--memory', '32'], "--memory must be a size .* but is '32'"),
    ],
)
def test_what_does_not_go_together(args, line):
    with pytest.raises(UserError, match=f'^{line}$'):
        build_executor(parsed(*args), None)


@pytest.mark.parametrize(('name', 'package'), [('slurm', 'submitit'), ('ray', 'ray')])
def test_without_the_package_it_says_what_to_install(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    line = f"^--executor {name} needs {package}: 'pip install {package}'$"
    with pytest.raises(UserError, match=line):
        build_executor(parsed('--executor', name), None)


def test_the_options_load_nothing_heavy():
    code = 'import sys, rdarts.study.executors.options, rdarts.study.executors.worker as w, '
    code += 'rdarts.study.executors.slurm, rdarts.study.executors.ray; '
    code += 'print(sorted({"torch", "ray", "submitit", "numpy", "mmengine"} & set(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout == '[]\n', done.stderr


def test_they_are_checked_without_a_cluster():
    """As a dry run does: there is neither Slurm nor Ray here."""
    args = parsed('--executor', 'slurm', '--gpus', '1', '--cpus', '8', '--memory', '2G')
    assert check_options(args, None) == Resources(1, 8, 2 << 30)
    with pytest.raises(UserError, match='^--gpus is for --executor slurm or ray$'):
        check_options(parsed('--gpus', '1'), None)
