"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path

import pytest
from forks import unmeasured
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

pytest_plugins = ['tests.data_skips']

ROOT = Path(__file__).resolve().parent.parent
MEASURED = pytest.StashKey[bool]()


@pytest.hookimpl(trylast=True)  # of what is run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage measures the first case of each slow test alone: with it, a test takes half as long
    again, and the others run the same lines, but for those of a method, which have quick tests.
    """
    seen = set()
    for item in items:
        test = item.nodeid.partition('[')[0]
        item.stash[MEASURED] = test not in seen or item.get_closest_marker('slow') is None
        seen.add(test)


def pytest_collection_finish() -> None:
    """What is there by now stays: a run that collects garbage, as each phase of a search does and
    each data set of mmengine, need not go through all modules and tests.
    """
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> object:
    """See :func:`pytest_collection_modifyitems`."""
    with contextlib.nullcontext() if item.stash[MEASURED] else unmeasured():
        return (yield)


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
