"""The command ``rdarts``: its list, its tools, mistakes, Ctrl-C; nothing slow is imported first."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from helpers import TOOLS

import rdarts
from rdarts.console.subcommands import SUBCOMMANDS

# Loading any of these takes longer than all the rest of a start
HEAVY = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'cv2', 'matplotlib')
# Says at the end what was loaded
WATCH = f"""
import atexit, sys
atexit.register(lambda: print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr))
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run ``rdarts`` in a process; gives its exit code, output, and what it said of mistakes."""
    (tmp_path / 'sitecustomize.py').write_text(WATCH)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path), prepend=':')

    def run(*words):
        done = subprocess.run(
            [sys.executable, '-m', 'rdarts', *words], capture_output=True, text=True
        )
        *said, loaded = done.stderr.splitlines()
        assert loaded == '[]', 'something slow was imported'
        return done.returncode, done.stdout, said

    return run


def test_every_subcommand_is_listed_in_a_line(command):
    code, out, said = command('--help')
    assert (code, said) == (0, [])
    assert command() == (code, out, said)
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith('  ')]
    assert lines == [[name, one.text] for name, one in SUBCOMMANDS.items()]
    assert max(map(len, out.splitlines())) <= 80


def test_every_subcommand_is_a_tool():
    for name, one in SUBCOMMANDS.items():
        assert (TOOLS / one.tool).is_file(), name


def test_the_version(command):
    assert command('--version') == (0, f'rdarts {rdarts.__version__}\n', [])


@pytest.mark.parametrize('name', ['search', 'cost-table'])  # that of a folder with shared options
def test_a_tool_calls_itself_by_the_subcommand(name, command):
    code, out, said = command(name, '--help')
    assert (code, said) == (0, [])
    assert out.startswith(f'usage: rdarts {name} ')


@pytest.mark.parametrize(
    ('words', 'line'),
    [
        (['serach', 'x.py'], "error: no subcommand 'serach': did you mean 'search'?"),
        (['--hlep'], "error: no option --hlep before a subcommand: did you mean '--help'?"),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_name(words, line, command):
    assert command(*words) == (2, '', [line])


def test_a_subcommand_prints_what_its_tool_prints():
    words = ['--genotype', 'DARTS_V2', '--no-latency', '--width', '4', '--depth', '3']
    starts = [str(TOOLS / 'analysis/complexity.py')], ['-m', 'rdarts', 'complexity']
    done = [
        subprocess.run([sys.executable, *start, *words], capture_output=True, text=True)
        for start in starts
    ]
    assert done[0].returncode == done[1].returncode == 0, done[1].stderr
    assert 'parameters' in done[1].stdout
    assert done[0].stdout == done[1].stdout


HANGS = """
import sys, time
from rdarts import cli
from rdarts.console.main import main
cli.run_guarded = lambda tool: print('ready', flush=True) or time.sleep(60)
sys.argv = ['rdarts', 'search']
main()
"""


def test_ctrl_c_before_the_tool_begins_is_quiet():
    process = subprocess.Popen(
        [sys.executable, '-c', HANGS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ('', '')
    assert process.returncode == 130
