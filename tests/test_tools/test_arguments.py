"""Every file of ``tools/``: arguments first, and what is slow to import only after them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest
from helpers import TOOLS

FILES = sorted(TOOLS.rglob('*.py'))
SCRIPTS = sorted(TOOLS.rglob('*.sh'))
SHARED = ('arguments.py',)  # imported by benchmarks, no tool itself
PROGRAMS = [path for path in FILES if path.name not in SHARED]
# Loading any of these takes longer than all the rest of a start
HEAVY = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'cv2', 'matplotlib', 'pandas')
# Imported before the tool: says at the end how quick it was, and what was loaded
WATCH = f"""
import atexit, sys, time
atexit.register(
    lambda: print(time.process_time() < 1, sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)
)
"""
QUICK = 'True []'  # less than a second of the processor, and nothing of these


@pytest.fixture
def start(tmp_path):
    """Run a file of tools/ in a process of its own; the last line of stderr is what it loaded."""
    (tmp_path / 'sitecustomize.py').write_text(WATCH)

    def run(path, *args):
        env = dict(os.environ, PYTHONPATH=str(tmp_path))
        return subprocess.run(
            [sys.executable, str(path), *args], capture_output=True, text=True, env=env
        )

    return run


def named(path):
    return str(path.relative_to(TOOLS))


def test_every_file_is_a_tool_or_shared():
    for path in FILES:
        tree = ast.parse(path.read_text(encoding='utf-8'))
        guarded = [
            node for node in tree.body if ast.unparse(node).startswith("if __name__ == '__m")
        ]
        assert bool(guarded) == (path.name not in SHARED), path


@pytest.mark.parametrize('path', PROGRAMS, ids=named)
def test_help_loads_nothing_slow(path, start):
    done = start(path, '--help')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f'usage: {path.name} ')
    assert done.stderr == f'{QUICK}\n'


@pytest.mark.parametrize('path', PROGRAMS, ids=named)
def test_an_unknown_option_is_refused_as_fast(path, start):
    done = start(path, *['x'] * 4, '--no-such-option')
    line, loaded = done.stderr.splitlines()
    assert done.returncode == 2, done.stderr
    assert loaded == QUICK
    assert line.startswith('error: unknown option --no-such-option: ')
    assert done.stdout == ''


@pytest.mark.parametrize(
    ('words', 'line'),
    [
        (['--wrok-dir', 'x'], "unknown option --wrok-dir: did you mean '--work-dir'?"),
        (['x.py', '--sed=3'], "unknown option --sed: did you mean '--seed'?"),
        ([], 'the following arguments are required: config (--help lists the options)'),
        (['x.py', 'y.py'], 'unrecognized arguments: y.py (--help lists the options)'),
        (['x.py', '--seed', '-1', '--see'], 'argument --seed: expected one argument'),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_option(words, line):
    done = subprocess.run(
        [sys.executable, str(TOOLS / 'train.py'), *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith(f'error: {line}')
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize('path', SCRIPTS, ids=named)
def test_scripts(path):
    def run(*args):
        return subprocess.run(['bash', str(path), *args], capture_output=True, text=True)

    asked = run('--help')
    assert (asked.returncode, asked.stderr) == (0, '')
    assert asked.stdout.startswith('usage: ')
    for args in ([], ['--no-such-option', '1', 'x', 'y']):
        refused = run(*args)
        assert (refused.returncode, refused.stdout) == (2, '')
        assert refused.stderr.startswith('usage: ')
