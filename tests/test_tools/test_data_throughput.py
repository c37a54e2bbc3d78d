from __future__ import annotations

import json
import re

import numpy as np
import pytest
from helpers import run_tool, write_small_search

from rdarts.datasets import ImageFolder, image_cache, shards
from rdarts.datasets.shards import in_groups
from rdarts.measure import image_files

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


def test_images_in_files():
    done = run_tool([TOOL, '--files', 4, '--epochs', 1])
    assert done.code == 0, done.err
    heading, _, *table = done.out.splitlines()
    assert re.fullmatch(r'4 JPEGs of 500 x 375 pixels \((4[5-9]|5[0-5]) kB\); ms .*', heading)
    rows = [line.split(' | ') for line in table]
    assert [row[0] for row in rows[2:]] == [f'| {title}' for title in image_files.TITLES.values()]
    # where shared memory is short, later ones have none
    assert all(row[1] == '-' or float(row[1]) > 0 for row in rows[2:])


def test_where_images_are_read_from(tmp_path):
    images = image_files.draw(3)
    pixels = []
    for name, root in image_files.write(tmp_path, images).items():
        dataset = ImageFolder(data_root=str(root), pipeline=[dict(type='LoadImageFromFile')])
        assert in_groups(dataset[0]['img_path']) == (name == 'parquet')
        assert dataset.metainfo['classes'] == image_files.CLASSES
        assert [dataset[i]['gt_label'] for i in range(3)] == [0, 0, 1]
        pixels.append([dataset[i]['img'] for i in range(3)])
    for found in pixels[1:]:
        np.testing.assert_array_equal(found, pixels[0])


def test_one_row_group_is_kept():
    before = shards._groups
    with image_files._one_group():
        read = []
        for group in (0, 1, 1, 0):
            shards._groups.get(('a', group), lambda path, group: read.append(group) or np.ones(9))
    assert read == [0, 1, 0]
    assert shards._groups is before


@pytest.mark.parametrize('given', [['--cfg-options', 'limit=3'], ['--genotype', 'DARTS_V2']])
def test_options_without_a_config(given):
    done = run_tool([TOOL, *given])
    assert done.code == 2 and 'error: --cfg-options and --genotype are of a config' in done.err


@pytest.mark.parametrize('given', [['--files', 1], ['config.py', '--files', 2]])
def test_too_few_files(given):
    done = run_tool([TOOL, *given])
    assert done.code == 2 and done.err.startswith('error: --files must be 2 or more')


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (['--files', 4, '--images', 9], '--files does not take --images: leave it out'),
        (['config.py', '--batch-size', 9], 'a config does not take --batch-size: leave it out'),
    ],
)
def test_options_of_noise(given, message):
    done = run_tool([TOOL, *given])
    assert (done.code, done.err) == (2, f'error: {message}\n')


def test_images_that_were_not_all_kept_have_no_time(monkeypatch, capsys):
    monkeypatch.setattr(image_cache, 'FREE_DISK', 1.1)
    monkeypatch.setattr(image_cache, 'FREE_SHARED', 1.1)
    found = image_files.measure(4, 1)
    assert found['later_ms'] is None and found['first_ms'] > 0
    capsys.readouterr()
    image_files.print_table(found)
    assert f'| {image_files.TITLES["later"]} | - |  |' in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize('option', ['iterations', 'batch-size', 'images', 'epochs', 'threads'])
def test_mistakes(option):
    done = run_tool([TOOL, f'--{option}', 0])
    assert done.code == 2
    assert f'error: --{option} must be 1 or more' in done.err
    assert 'Traceback' not in done.err
