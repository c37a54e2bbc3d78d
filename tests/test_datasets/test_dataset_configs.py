from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import write_cifar, write_imagenet16
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import METRICS, MODELS

import rdarts.registry  # noqa: F401  (makes 'rdarts.X' known)
from rdarts.configuration.filling import fill_in
from rdarts.datasets import Digits, ImageFolder, check_parts

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets'


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def load(name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    fill_in(config)
    return config


def loader(config, seed=1, **changes):
    config = {**config, **changes}
    if not config['num_workers']:
        config['persistent_workers'] = False
    return Runner.build_dataloader(config, seed=seed)


def labels_of(batch):
    return torch.cat([sample.gt_label for sample in batch['data_samples']])


@pytest.fixture
def store(tmp_path, monkeypatch, data_root):
    write_cifar(tmp_path / 'cifar10', 'cifar10', 200, 100)
    write_cifar(tmp_path / 'cifar100', 'cifar100', 200, 100)
    write_imagenet16(tmp_path / 'imagenet16_120', 240, 120)
    (tmp_path / 'image_folder').symlink_to(data_root / 'imagenet_mini')
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'classes', 'size'),
    [
        ('cifar10', 10, 32),
        ('cifar100', 100, 32),
        ('imagenet16_120', 120, 16),
        ('digits', 10, 32),
        ('image_folder', 10, 224),
    ],
)
def test_every_loader_yields_what_the_network_takes(store, name, classes, size):
    config = load(name)
    assert 'default_hooks' not in config  # bases of one config must not share a key
    assert config.data_preprocessor.num_classes == classes
    preprocess = MODELS.build(dict(type='ClsDataPreprocessor', **config.data_preprocessor))
    built = {}
    for key in ('train', 'arch', 'val', 'test'):
        built[key] = loader(config[f'{key}_dataloader'], batch_size=8, num_workers=0)
        batch = preprocess(next(iter(built[key])))
        assert batch['inputs'].shape == (8, 3, size, size)
        assert batch['inputs'].dtype == torch.float32
        labels = labels_of(batch)
        assert labels.shape == (8,) and 0 <= labels.min() and labels.max() < classes
        assert len(built[key].dataset.metainfo['classes']) == classes
    check_parts(built['train'].dataset, built['arch'].dataset)
    np.testing.assert_array_equal(built['val'].dataset.indices, built['arch'].dataset.indices)
    for key in ('train', 'arch'):
        assert config[f'{key}_dataloader'].batch_size == 64
        assert config[f'{key}_dataloader'].drop_last
    METRICS.build(config.val_evaluator)
    METRICS.build(config.test_evaluator)
    assert (config.val_cfg, config.test_cfg) == ({}, {})


@pytest.mark.parametrize('name', ['cifar10', 'cifar100'])
def test_real_cifar_is_normalised(data_root, name, monkeypatch):
    monkeypatch.setenv('RDARTS_DATA', str(data_root))
    config = load(name)
    config.test_dataloader.dataset.limit = 2000
    preprocess = MODELS.build(dict(type='ClsDataPreprocessor', **config.data_preprocessor))
    batches = loader(config.test_dataloader, num_workers=0)
    inputs = torch.cat([preprocess(batch)['inputs'] for batch in batches])
    assert inputs.mean((0, 2, 3)).abs().max() < 0.05
    assert (inputs.std((0, 2, 3)) - 1).abs().max() < 0.05


@pytest.mark.parametrize('name', ['cifar10', 'cifar100', 'imagenet16_120', 'digits'])
def test_workers_change_nothing(store, name):
    config = load(name)
    loader_config = config.train_dataloader
    if name == 'digits':
        loader_config.dataset.dataset.limit = 200
    assert loader_config.num_workers == 0  # a batch takes a millisecond
    assert not loader_config.persistent_workers
    alone = list(loader(loader_config, batch_size=32))
    workers = loader(loader_config, batch_size=32, num_workers=2, persistent_workers=True)
    assert len(alone) == 3
    for _ in range(2):  # persistent workers, the same epoch twice
        for a, b in zip(alone, workers, strict=True):
            assert torch.equal(a['inputs'], b['inputs'])
            assert torch.equal(labels_of(a), labels_of(b))


def test_a_pipeline_of_single_images_needs_no_other_change(store):
    config = load('cifar10')
    config.train_dataloader.dataset.dataset.pipeline = [
        dict(type='RandomCrop', crop_size=32, padding=4),
        dict(type='PackInputs'),
    ]
    alone = list(loader(config.train_dataloader, batch_size=32))
    workers = loader(config.train_dataloader, batch_size=32, num_workers=2)
    for a, b in zip(alone, workers, strict=True):
        assert a['inputs'].shape == (32, 3, 32, 32)
        assert torch.equal(a['inputs'], b['inputs'])


def test_digits_figures_are_those_of_the_training_images():
    config = load('digits')
    images = Digits().arrays.images.reshape(-1, 3)
    np.testing.assert_allclose(config.data_preprocessor.mean, images.mean(0), atol=0.001)
    np.testing.assert_allclose(config.data_preprocessor.std, images.std(0), atol=0.001)
    assert config.train_dataloader.num_workers == 0
    assert not config.train_dataloader.persistent_workers


def crops(batches):
    """How far each digit was shifted, read from the blank margins that padding leaves."""
    inputs = torch.cat([batch['inputs'] for batch in batches])[:, 0].float()
    return [(round(float(x.sum(0).argmax())), round(float(x.sum(1).argmax()))) for x in inputs]


def test_train_and_arch_loader_have_streams_of_their_own():
    config = load('digits')
    # The same images for both, so that only the streams can differ
    same = dict(dataset=config.train_dataloader.dataset)
    train = loader(config.train_dataloader)
    arch = loader(config.arch_dataloader, **same)
    ordered = [int(i) for i in train.sampler], [int(i) for i in arch.sampler]
    assert sorted(ordered[0]) == sorted(ordered[1]) and ordered[0] != ordered[1]
    unshuffled = []
    for source in (config.train_dataloader, config.arch_dataloader):
        sampler = {**source['sampler'], 'shuffle': False}
        unshuffled.append(next(iter(loader(source, sampler=sampler, **same))))
    assert torch.equal(labels_of(unshuffled[0]), labels_of(unshuffled[1]))
    shifts = [crops([batch]) for batch in unshuffled]
    equal = np.mean([a == b for a, b in zip(*shifts, strict=True)])
    assert equal < 0.2


@pytest.mark.slow
def test_image_folder_is_rgb_after_preprocessing(tmp_path, monkeypatch):
    import cv2

    for name in ('a', 'b'):
        (tmp_path / 'image_folder' / 'val' / name).mkdir(parents=True)
        (tmp_path / 'image_folder' / 'train' / name).mkdir(parents=True)
        red = np.zeros((300, 260, 3), np.uint8)
        red[..., 2] = 255  # OpenCV writes B, G, R
        for split in ('train', 'val'):
            cv2.imwrite(str(tmp_path / 'image_folder' / split / name / 'x.png'), red)
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path))
    config = load('image_folder')
    preprocess = MODELS.build(dict(type='ClsDataPreprocessor', **config.data_preprocessor))
    batch = preprocess(next(iter(loader(config.test_dataloader, num_workers=0))))
    channels = batch['inputs'].mean((0, 2, 3))
    assert channels[0] > 2 and channels[1] < -2 and channels[2] < -1.7
    assert len(ImageFolder('train')) == 2
