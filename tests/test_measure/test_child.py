"""A process that measures: what it says where it fails, in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from rdarts.errors import RunFailed
from rdarts.measure.child import Child


@pytest.fixture
def start() -> Iterator[object]:
    children: list[Child] = []

    def begin(program: str) -> Child:
        children.append(Child([sys.executable, '-c', f'import os, sys; {program}'], {}))
        return children[-1]

    yield begin
    for child in children:
        child.kill()


SAYS = 'sys.stderr.write("a warning\\nof two lines\\n"); '
ENDS = [
    (f'{SAYS}sys.exit("error: a GPU fell off")', 'a GPU fell off'),
    (f'{SAYS}sys.exit(7)', 'of two lines'),
    ('sys.exit(7)', 'exit code 7'),
    (f'{SAYS}sys.stderr.flush(); os.kill(os.getpid(), 9)', 'signal SIGKILL'),
    ('os.kill(os.getpid(), 40)', 'signal 40'),
]


@pytest.mark.parametrize(('program', 'why'), ENDS)
def test_why_it_has_ended_is_one_line(start, program, why):
    with pytest.raises(RunFailed, match=f'^a measurement failed: {why}$'):
        start(program).wait_until_ready()
    child = start(f'print("ready", flush=True); sys.stdin.read(); {program}')
    child.wait_until_ready()
    child.end()
    with pytest.raises(RunFailed, match=f'^a measurement failed: {why}$'):
        child.result()


def test_what_it_prints_last_is_its_result(start):
    child = start(
        f'{SAYS}print("ready", flush=True); sys.stdin.readline(); print("x"); print("[3]")'
    )
    child.wait_until_ready()
    child.tell()
    child.end()
    assert child.result() == [3]
