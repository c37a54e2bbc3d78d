"""The command that follows a search."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from rdarts.configuration.filling import sources
from rdarts.configuration.load import check_model, load_config
from rdarts.configuration.options import parse_options
from rdarts.configuration.retraining import (
    retraining_command,
    same_images,
    training_images,
    write_retraining,
)
from rdarts.genotypes import load_genotype
from rdarts.search_spaces import build_space

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
LAYERWISE = ' - '.join(
    ['mbconv_k3_e6', 'skip_connect', 'mbconv_k5_e3', 'mbconv_k7_e6'] * 5 + ['mbconv_k3_e3']
)
GENOTYPES = dict(
    nb201='|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|none~2|',
    darts='DARTS_V2',
    mobilenet_like=LAYERWISE,
)
OWN = """
_base_ = [
    '{configs}/_base_/models/{model}_supernet.py',
    '{configs}/_base_/datasets/image_folder.py',
    '{configs}/_base_/schedules/search_d0.py',
    '{configs}/_base_/search_runtime.py',
]
size = 32
train = dict(data_root={root!r}, pipeline=[
    dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=size),
    dict(type='PackInputs'),
])
test = dict(data_root={root!r}, pipeline=[
    dict(type='LoadImageFromFile'), dict(type='ResizeEdge', scale=size, edge='short'),
    dict(type='CenterCrop', crop_size=size), dict(type='PackInputs'),
])
model = dict(head=dict(num_classes=2))
data_preprocessor = dict(num_classes=2, mean=[1.0, 2.0, 3.0])
train_dataloader = dict(dataset=dict(dataset=train))
arch_dataloader = dict(dataset=dict(dataset=train))
val_dataloader = dict(dataset=dict(dataset=test))
test_dataloader = dict(dataset=test)
"""
SIZES = ('scale', 'crop_size')
SMALLER = dict(
    nb201={'model.backbone.channels': 4},
    darts={'model.backbone.channels': 4},
    mobilenet_like={'model.backbone.last_channels': 64},
)
MODELS = dict(nb201='nas_bench_201', darts='darts', mobilenet_like='mobilenet_like')


def next_command(cfg, genotype):
    """As at the end of a search."""
    space = build_space(cfg.model.backbone.space)
    write_retraining(cfg, space, genotype)
    return retraining_command(cfg.work_dir, space, training_images(cfg))


def write_search(tmp_path, space):
    """A search of own images and its work directory, with spaces and quotes in the paths."""
    root = tmp_path / "the root's é"
    for split in ('train', 'val'):
        for name in ('a', 'b'):
            (root / split / name).mkdir(parents=True)
            image = np.zeros((40, 40, 3), np.uint8)
            assert cv2.imwrite(str(root / split / name / '0.png'), image)
    config = tmp_path / 'own.py'
    config.write_text(OWN.format(configs=CONFIGS, model=MODELS[space], root=str(root)))
    cfg = load_config(config)
    cfg.work_dir = str(tmp_path / 'work dir é')
    Path(cfg.work_dir).mkdir()
    genotype = load_genotype(GENOTYPES[space])
    Path(cfg.work_dir, 'genotype.json').write_text(json.dumps(genotype.to_dict()))
    return cfg, genotype, root


@pytest.mark.slow
@pytest.mark.parametrize('space', ['nb201', 'darts', 'mobilenet_like'])
def test_own_images_are_trained_on_again(tmp_path, space):
    cfg, genotype, root = write_search(tmp_path, space)
    words = shlex.split(next_command(cfg, genotype))
    assert words[:1] == ['python'] and words[1].endswith('tools/train.py') and len(words) == 3
    found = load_config(words[2])
    check_model(found)  # a genotype, and widths that fit
    assert found.model.backbone.genotype == genotype.to_dict()
    assert found.work_dir == str(Path(cfg.work_dir, 'retrain'))
    assert found.model.head.num_classes == found.data_preprocessor.num_classes == 2
    assert found.data_preprocessor.mean == [1.0, 2.0, 3.0]
    train = found.train_dataloader.dataset
    assert train.type == 'rdarts.SeededDataset' and train.dataset.data_root == str(root)
    assert train.dataset.pipeline == cfg.train_dataloader.dataset.dataset.pipeline
    assert found.train_dataloader.num_workers == cfg.train_dataloader.num_workers
    for loader in (found.val_dataloader, found.test_dataloader):
        assert loader.dataset == dict(cfg.test_dataloader.dataset, data_root=str(root))
    assert found.get('arch_dataloader') is None
    # the keys at the top move what the search has set
    other = load_config(words[2], dict(data_root='other', image_size=96, limit=1))
    for source in sources(other):
        assert (source.data_root, source.limit) == ('other', 1)
        assert {96} == {step[key] for step in source.pipeline for key in SIZES if key in step} - {
            32
        }
    smaller = load_config(words[2], SMALLER[space])
    check_model(smaller)  # its heads follow


def test_a_moved_work_directory_is_trained_from_where_it_is(tmp_path):
    cfg, genotype, _ = write_search(tmp_path, 'nb201')
    next_command(cfg, genotype)
    moved = Path(cfg.work_dir).rename(tmp_path / "it's moved")
    found = load_config(moved / 'retrain.py')
    check_model(found)
    assert found.work_dir == str(moved / 'retrain')


def test_images_are_the_same_however_their_folder_is_named(tmp_path, monkeypatch):
    cfg, _, root = write_search(tmp_path, 'nb201')
    ours = training_images(cfg)
    assert same_images(ours, dict(ours, data_root=f'{root}/../{root.name}'))
    assert not same_images(ours, dict(ours, data_root=str(tmp_path)))
    assert not same_images(ours, dict(ours, type='rdarts.Digits'))
    root.rename(tmp_path / 'image_folder')
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path))
    found = dict(ours, data_root=str(tmp_path / 'image_folder'))
    assert same_images(found, dict(ours, data_root=None))


def test_shipped_configs_for_shipped_data(tmp_path):
    genotype = load_genotype(GENOTYPES['nb201'])
    for data, expected in (
        ('c10', 'configs/retrain/nb201_c10.py'),
        ('c100', 'configs/retrain/nb201_c100.py'),
        ('in16', 'configs/retrain/nb201_in16.py'),
        ('digits', None),
    ):
        cfg = load_config(CONFIGS / 'search' / f'rdarts_nb201_{data}.py')
        cfg.work_dir = str(tmp_path / 'a b')
        words = shlex.split(next_command(cfg, genotype))
        if expected is None:  # a comparison on the same digits
            assert words[1].endswith('tools/analysis/compare_cells.py')
            assert [os.path.abspath(word) for word in words[2:]] == [cfg.work_dir]
            continue
        assert words[1].endswith('tools/train.py') and words[2].endswith(expected)
        # shown from where one stands, where that is near
        assert words[3] == '--genotype' and os.path.abspath(words[4]) == cfg.work_dir
        root = tmp_path / 'data, of mine'
        cfg.train_dataloader.dataset.dataset.data_root = str(root)
        words = shlex.split(next_command(cfg, genotype))[5:]
        assert words[0] == '--cfg-options'
        found = load_config(CONFIGS.parent / expected, parse_options(words[1:]))
        assert {source.data_root for source in sources(found)} == {str(root)}


def test_a_space_without_a_retraining(tmp_path):
    cfg = load_config(CONFIGS / 'search' / 'rdarts_mobilenet_like_c10.py')
    cfg.work_dir = str(tmp_path)
    assert next_command(cfg, load_genotype(LAYERWISE, 'mobilenet_like')) is None


def test_without_test_images_nothing_is_validated(tmp_path):
    cfg, genotype, root = write_search(tmp_path, 'nb201')
    shutil.rmtree(root / 'val')
    path = Path(shlex.split(next_command(cfg, genotype))[2])
    found = load_config(path)
    check_model(found)
    assert found.val_dataloader is found.val_cfg is found.val_evaluator is None
    assert found.test_dataloader.dataset.split == 'val'
    path.write_text(path.read_text().rpartition('val_dataloader = val_cfg')[0])
    assert load_config(path).val_dataloader.dataset == found.test_dataloader.dataset
