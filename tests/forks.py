"""Processes that fork from a server which has torch loaded, and what of them coverage measures."""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path

TESTS = str(Path(__file__).resolve().parent)
MEASURES = 'COVERAGE_PROCESS_CONFIG'  # by it a process that starts knows that it is measured


@functools.cache
def fork_server() -> BaseContext:
    """The context of processes that fork from the server: a worker of the tests has one.

    They are not measured, but for what :func:`measured` surrounds.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['fork_server_start'])
    path = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join([TESTS, path or ''])  # the server puts it back
    try:
        with unmeasured():
            forkserver.ensure_running()
    finally:
        del os.environ['PYTHONPATH']
        if path is not None:
            os.environ['PYTHONPATH'] = path
    return context


@contextlib.contextmanager
def unmeasured() -> Iterator[None]:
    """Coverage rests within: in this process, and in those that it starts."""
    stopped, config = [], os.environ.pop(MEASURES, None)
    while (current := _current()) is not None:  # a worker of pytest-xdist has two
        current.stop()
        stopped.append(current)
    try:
        yield
    finally:
        for one in reversed(stopped):
            one.start()
        if config is not None:
            os.environ[MEASURES] = config


@contextlib.contextmanager
def measured() -> Iterator[None]:
    """This process, a fork, is measured within, where its environment says so."""
    if os.environ.get(MEASURES):
        import coverage

        coverage.process_startup()
    try:
        yield
    finally:
        current = _current()
        if current is not None:
            current.stop()
            current.save()


def load_unmeasured(*names: str) -> None:
    """Load modules of others before tests do, where coverage would look at each of their lines."""
    if _current() is not None:
        with unmeasured():
            for name in names:
                importlib.import_module(name)


def lines_run() -> int:
    """How many lines coverage has seen in this process; 0 where it does not measure."""
    current = _current()
    # of what has been written already, it knows no more: only ever compared with the number before
    return 0 if current is None else sum(map(len, list(current._collector.data.values())))


def _current():
    coverage = sys.modules.get('coverage')
    return coverage and coverage.Coverage.current()
