"""Fixtures that every test may use."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from quick_runs import build_once, read_once, sync_nothing, write_configs_as_they_come

# The tests' networks are tiny: more threads only wait for each other.
os.environ.setdefault('OMP_NUM_THREADS', '1')
# Where there are two, they do not wait busily: the next test's process needs the core.
os.environ.setdefault('GOMP_SPINCOUNT', '1000')

# Tools and ranks fork from a server, which has these loaded. A worker has one, and what the server
# loads is said before any test starts it: else every tool that follows would load torch anew.
PRELOAD = [
    'mmpretrain.datasets',
    'mmpretrain.evaluation',
    'mmpretrain.models',
    'sklearn.datasets',
    'rdarts.architect',
    'rdarts.datasets',
    'rdarts.apis.dry_run',
    'rdarts.hooks',
    'rdarts.models',
]
multiprocessing.get_context('forkserver').set_forkserver_preload(PRELOAD)

pytest_plugins = ['tests.data_skips']

ROOT = Path(__file__).resolve().parent.parent


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
    build_once()
