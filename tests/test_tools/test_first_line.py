"""What ``tools/train.py`` shows: its first line before PyTorch is loaded, a bar, or little."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from helpers import TOOLS, ToolProcess, run_tool, write_small_search
from pseudo_terminal import Terminal, frames, screen

# Ends a program at its first line, and says what it has loaded
WATCH = """
import builtins, os, sys

def watched(*args, **keys):
    show(*args, **keys)
    show('torch' in sys.modules, flush=True)
    os._exit(0)

show, builtins.print = print, watched
"""
TRAIN = str(TOOLS / 'train.py')
STARTS = {
    'tool': [TRAIN],
    'search': ['-m', 'rdarts', 'search'],
    'retrain': ['-m', 'rdarts', 'retrain'],
    'test': ['-m', 'rdarts', 'test', '--out', 'x.json'],
}


@pytest.fixture
def first_lines(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(WATCH)

    def run(*words, **env):
        env = dict(os.environ, PYTHONPATH=f'{tmp_path}:{TOOLS.parent}', **env)
        return subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, env=env, cwd=TOOLS.parent
        )

    return run


@pytest.mark.parametrize('start', STARTS)
def test_it_comes_before_torch(start, first_lines):
    words = ['nb201_digits', *(['x.pth'] if start == 'test' else [])]
    done = first_lines(*STARTS[start], *words)
    assert done.stdout == 'configs/retrain/nb201_digits.py: loading PyTorch ...\nFalse\n'
    assert done.stderr == ''


@pytest.mark.parametrize(
    ('words', 'line'),
    [
        (['nb201_digit'], "config not found: nb201_digit: did you mean '"),
        (['configs/search/rdarts_nb201_c1.py'], 'config not found: configs/search/rdarts_nb201_c1'),
    ],
)
def test_a_config_that_is_missed_is_said_as_early(words, line, first_lines):
    done = first_lines(TRAIN, *words)
    assert done.stdout == 'False\n'
    assert done.stderr.startswith(f'error: {line}')
    assert len(done.stderr.splitlines()) == 1


def test_a_search_on_a_terminal(tmp_path):
    config = write_small_search(tmp_path)
    terminal = Terminal()
    args = ['train.py', config, '--work-dir', tmp_path / 'run']
    done = ToolProcess(args, env=dict(TERM='xterm'), terminal=terminal.name).wait()
    text = terminal.close()
    assert done.code == 0, text
    epochs = [epoch for epoch, *_ in frames(text)]
    assert epochs == sorted(epochs) and set(epochs) == {'1', '2', '3'}
    assert screen(text)[0].startswith(f'{config}: loading PyTorch')
    assert [line.partition(':')[0] for line in screen(text)[-5:]] == [
        *('genotype', 'saved in', 'report', 'next', '')
    ]


def test_a_retraining_that_is_quiet_shows_its_results(tmp_path):
    options = ['model.backbone.channels=2', 'model.backbone.cells_per_stage=1', 'limit=64']
    args = [
        'nb201_digits',
        '--genotype',
        '|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|avg_pool_3x3~2|',
        '--work-dir',
        tmp_path / 'run',
        '--quiet',
    ]
    done = run_tool(['train.py', *args, '--cfg-options', 'epochs=1', *options])
    assert (done.code, done.err) == (0, '')
    lines = [line for line in done.out.splitlines() if line]
    assert [line.partition(':')[0] for line in lines] == ['accuracy/top1', 'saved in', 'next']
    assert lines[1].endswith('.pth')
    assert 'tools/export.py ' in lines[2]
