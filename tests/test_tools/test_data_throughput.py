from __future__ import annotations

import json

import pytest
from helpers import run_tool, write_small_search

TOOL = 'benchmarks/data_throughput.py'
SMALL = ['--images', 192, '--epochs', 1]


@pytest.mark.slow
def test_json():
    done = run_tool([TOOL, *SMALL, '--json'])
    assert done.code == 0, done.err
    result = json.loads(done.out.splitlines()[-1])
    for name in ('batch', 'single'):
        for unit in ('s', 'cpu_s'):
            assert result[f'{name}_images_per_{unit}'] > 0
    assert (result['images'], result['batch_size'], result['threads']) == (192, 64, 1)


@pytest.mark.slow
def test_table():
    done = run_tool([TOOL, *SMALL, '--batch-size', 32])
    assert done.code == 0, done.err
    for text in ('images/s', 'ms a batch', 'images/CPU s', 'whole batches', 'single images'):
        assert text in done.out
    assert 'batch 32' in done.out


def test_the_share_of_a_config(tmp_path):
    config = write_small_search(tmp_path)
    done = run_tool([TOOL, config, '--iterations', 2, '--json'], cwd=tmp_path)
    assert done.code == 0, done.err
    share = json.loads(done.out.splitlines()[-1])
    assert 0 < share['data_s'] < share['iteration_s']
    assert share['share'] == pytest.approx(share['data_s'] / share['iteration_s'])
    assert [path.name for path in tmp_path.iterdir()] == [config.name]


@pytest.mark.parametrize('given', [['--cfg-options', 'limit=3'], ['--genotype', 'DARTS_V2']])
def test_options_without_a_config(given):
    done = run_tool([TOOL, *given])
    assert done.code == 2 and 'error: --cfg-options and --genotype are of a config' in done.err


@pytest.mark.parametrize('option', ['iterations', 'batch-size', 'images', 'epochs', 'threads'])
def test_mistakes(option):
    done = run_tool([TOOL, f'--{option}', 0])
    assert done.code == 2
    assert f'error: --{option} must be 1 or more' in done.err
    assert 'Traceback' not in done.err
