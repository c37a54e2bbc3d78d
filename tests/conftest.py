"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
from forks import lines_run, load_unmeasured, unmeasured
from quick_runs import (
    build_once,
    read_configs_once,
    read_once,
    sync_nothing,
    write_configs_as_they_come,
)

# The tests' networks are tiny: more threads only wait for each other.
os.environ.setdefault('OMP_NUM_THREADS', '1')
# Where there are two, they do not wait busily: the next test's process needs the core.
os.environ.setdefault('GOMP_SPINCOUNT', '1000')

# Else each process that tests start would compile the package anew.
os.environ.pop('PYTHONDONTWRITEBYTECODE', None)
sys.dont_write_bytecode = False

pytest_plugins = ['tests.data_skips']

if 'PYTEST_XDIST_WORKER' in os.environ:
    load_unmeasured('torch', 'mmpretrain.models', 'mmpretrain.datasets', 'mmpretrain.evaluation')

ROOT = Path(__file__).resolve().parent.parent
FIRST = pytest.StashKey[bool]()
IN_VAIN = pytest.StashKey[dict[str, int]]()
TWICE = 2  # in a row


@pytest.hookimpl(trylast=True)  # of what is run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notes which is the first case of a test."""
    seen = set()
    for item in items:
        test = test_of(item)
        item.stash[FIRST] = test not in seen
        seen.add(test)


def test_of(item: pytest.Item) -> str:
    """The test of a case."""
    return item.nodeid.partition('[')[0]


def pytest_collection_finish() -> None:
    """What is there by now stays: a run that collects garbage, as each phase of a search does and
    each data set of mmengine, need not go through all modules and tests.
    """
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> object:
    """Coverage measures the cases of a test until two in a row have run no line that others had not
    run here, and of a slow test the first alone: with it, a test takes half as long again, and what
    is left out runs the same lines, but for those of a method, which have quick tests.
    """
    in_vain = item.config.stash.setdefault(IN_VAIN, {})
    test, slow = test_of(item), item.get_closest_marker('slow') is not None
    if in_vain.get(test, 0) >= TWICE or (slow and not item.stash[FIRST]):
        with unmeasured():
            return (yield)
    before = lines_run()
    try:
        return (yield)
    finally:
        in_vain[test] = 0 if lines_run() > before else in_vain.get(test, 0) + 1


def find_data_root() -> Path:
    """The folder of the real test data: ``RDARTS_TEST_DATA``, by default ``../shared/data``."""
    return Path(os.environ.get('RDARTS_TEST_DATA') or ROOT.parent / 'shared' / 'data')


@pytest.fixture(scope='session')
def data_root() -> Path:
    """The real test data; skips the test where it is absent."""
    root = find_data_root()
    if not root.is_dir():
        pytest.skip(f'test data not found: set RDARTS_TEST_DATA (looked in {root})')
    return root


@pytest.fixture(scope='session', autouse=True)
def quick_runs() -> None:
    """Runs in this process leave out what takes longer than they do."""
    write_configs_as_they_come()
    sync_nothing()
    read_once()
    read_configs_once()
    build_once()
