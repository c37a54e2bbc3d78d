"""``tools/benchmarks/overhead.py`` as a process."""

from __future__ import annotations

import json

import pytest
from helpers import run_tool, write_small_search

from rdarts.measure import overhead

TOOL = 'benchmarks/overhead.py'


@pytest.fixture
def config(tmp_path):
    return write_small_search(tmp_path)


def test_json(config, tmp_path):
    done = run_tool(
        [TOOL, config, '--iterations', 3, '--warmup', 2, '--json', '--cfg-options',
         'train_cfg.val_interval=3'],
        cwd=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith('{')]
    assert line == done.out.splitlines()[-1]
    result = json.loads(line)
    assert (result['train_batches'], result['val_batches']) == (6, 1)
    for part in ('iteration', 'epoch'):
        seconds = {key: result[f'{part}_{key}_s'] for key in overhead.SECTIONS}
        assert all(value > 0 for value in seconds.values())
        share = 1 - seconds['compute'] / sum(seconds.values())
        assert result[f'outside_share_{part}'] == pytest.approx(share)
        assert 0 < share < 1
    for key in overhead.SECTIONS:
        assert result[f'epoch_{key}_s'] >= 6 * result[f'iteration_{key}_s']
    # nothing is left behind
    assert [path.name for path in tmp_path.iterdir()] == [config.name]


def test_table(config):
    done = run_tool([TOOL, config, '--iterations', 2, '--warmup', 1])
    assert done.code == 0, done.err
    for text in (
        'ms an iteration',
        's an epoch',
        *overhead.SECTIONS.values(),
        '6 iterations, 1 batches of validation',
        'outside forward, backward and optimizers: ',
    ):
        assert text in done.out
    assert 'Epoch(train)' not in done.out  # the log of the run goes nowhere


@pytest.mark.parametrize(
    ('args', 'text'),
    [
        (['--iterations', 4], 'an epoch has 6 iterations, fewer than --warmup 3'),
        (['--iterations', 0], '--iterations and --warmup must be 1 or more'),
        (['--cfg-options', 'modell.x=1'], "unknown key 'modell'"),
    ],
)
def test_mistakes(config, args, text):
    done = run_tool([TOOL, config, *args])
    assert done.code == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith('error: ')]
    assert text in line
    assert 'Traceback' not in done.err
