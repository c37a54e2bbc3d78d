"""``tools/analysis/compare_cells.py`` as a user runs it."""

from __future__ import annotations

import json
import os
import shlex

import pytest
from helpers import TOOLS, run_tool

from rdarts.genotypes import DenseCellGenotype, LayerwiseGenotype, dumps, parse_genotype

CELL = '|nor_conv_1x1~0|+|skip_connect~0|none~1|+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|'
SMALL = [
    '--cfg-options',
    'train_cfg.max_epochs=1',
    'model.backbone.channels=2',
    'train_dataloader.dataset.dataset.limit=128',
    'val_dataloader.dataset.limit=64',
]


def compare(folder, *args):
    return run_tool(['analysis/compare_cells.py', folder, *args])


def results(folder) -> dict:
    return json.loads((folder / 'compare' / 'results.json').read_text())['cells']


@pytest.mark.slow
def test_three_cells_are_trained_alike_and_only_once(tmp_path):
    (tmp_path / 'genotype.json').write_text(dumps(parse_genotype(CELL)))
    done = compare(tmp_path, *SMALL)
    assert (done.code, done.err) == (0, '')
    cells = results(tmp_path)
    assert list(cells) == ['found', 'all_skip', 'all_3x3']
    assert [cells[name]['skip_connections'] for name in cells] == [2, 6, 0]
    # 2 channels: 8 more weights for each 1x1 convolution of stage 1, and so on
    parameters = {name: cell['parameters'] for name, cell in cells.items()}
    assert parameters['all_skip'] < parameters['found'] < parameters['all_3x3']
    for cell in cells.values():
        assert 0 <= cell['accuracy'] <= 100
        assert f'{cell["accuracy"]:.2f} %' in done.out
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*.pth')}
    again = compare(tmp_path, *SMALL)
    assert again.code == 0
    assert again.out.count('trained already') == 3
    assert again.out.splitlines()[-7:] == done.out.splitlines()[-7:]
    assert results(tmp_path) == cells
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*.pth')} == stamps


@pytest.mark.slow
def test_it_says_on_which_images_and_that_the_search_was_on_others(tmp_path):
    found = DenseCellGenotype('nas_bench_201', ('skip_connect',) * 6)
    (tmp_path / 'genotype.json').write_text(dumps(found))
    (tmp_path / 'retrain.py').touch()
    images = dict(type='rdarts.ImageFolder', data_root=str(tmp_path / 'my own'))
    config = dict(train_dataloader=dict(dataset=dict(part='weights', dataset=images)))
    (tmp_path / 'config.json').write_text(json.dumps(config))
    first, other, how = compare(tmp_path, *SMALL).out.splitlines()[1:4]
    assert first.startswith('images: Digits, by ') and first.endswith('nb201_digits.py')
    assert other.strip().startswith('the search was on others: ImageFolder in ')
    assert "my own'" in other
    option, path = shlex.split(how)[-2:]  # a path is shown from the clone, where that is near
    assert option == '--config'
    assert os.path.abspath(TOOLS.parent / path) == str(tmp_path / 'retrain.py')


@pytest.mark.slow
def test_a_found_cell_that_is_a_baseline_is_trained_once(tmp_path):
    found = DenseCellGenotype('nas_bench_201', ('skip_connect',) * 6)
    (tmp_path / 'genotype.json').write_text(dumps(found))
    done = compare(tmp_path, *SMALL)
    assert done.code == 0
    assert 'the found cell is the all skip cell: it is trained once' in done.out
    assert list(results(tmp_path)) == ['found', 'all_3x3']


@pytest.mark.slow
def test_a_lost_table_is_read_from_the_checkpoints_and_another_seed_trains_anew(tmp_path):
    found = DenseCellGenotype('nas_bench_201', ('skip_connect',) * 6)
    (tmp_path / 'genotype.json').write_text(dumps(found))
    assert compare(tmp_path, *SMALL).code == 0
    before, folder = results(tmp_path), tmp_path / 'compare'
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*.pth')}
    (folder / 'results.json').write_text('{"schema": 1, "ce')
    assert compare(tmp_path, *SMALL).code == 0
    for name, cell in results(tmp_path).items():
        assert cell['accuracy'] == before[name]['accuracy']
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*.pth')} == stamps

    done = compare(tmp_path, '--seed', 1, *SMALL)
    assert done.code == 0
    assert done.out.count('trained otherwise before: moved to') == 2
    assert [cell['seed'] for cell in results(tmp_path).values()] == [1, 1]
    for name in before:
        assert len(list((folder / name).glob('*.pth'))) == 1
        assert len(list((folder / name / 'previous_1').glob('*.pth'))) == 1


@pytest.mark.slow
def test_mistakes_are_one_line(tmp_path):
    done = compare(tmp_path)
    assert done.code == 2 and 'no genotype.json in' in done.err and 'run python' in done.err
    (tmp_path / 'genotype.json').write_text(
        dumps(LayerwiseGenotype('my_layers', ('nor_conv_3x3',)))
    )
    done = compare(tmp_path)
    assert done.code == 2 and "unknown search space 'my_layers'" in done.err
    assert len(done.err.strip().splitlines()) == 1
    (tmp_path / 'genotype.json').write_text(dumps(parse_genotype(CELL)))
    done = compare(tmp_path, '--config', 'configs/search/rdarts_nb201_digits.py')
    assert done.code == 2 and 'trains no derived network' in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / 'compare').exists()
