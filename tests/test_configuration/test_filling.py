"""Numbers that follow from others: filled in where left out, kept where written, and said."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import TOOLS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from PIL import Image

from rdarts.configuration.filling import fill_in, image_side, require_classes, sources
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.configuration.notes import notes_of
from rdarts.engine.runner import build_runner
from rdarts.errors import UserError

CONFIGS = TOOLS.parent / 'configs'
RETRAIN = CONFIGS / 'retrain' / 'darts_image_folder.py'
SEARCH = CONFIGS / 'search'
FOLDER_SEARCH = f"""
_base_ = [
    '{CONFIGS}/_base_/models/darts_supernet.py',
    '{CONFIGS}/_base_/datasets/image_folder.py',
    '{CONFIGS}/_base_/schedules/search_d0.py',
    '{CONFIGS}/_base_/search_runtime.py',
]
"""


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Three classes, four images of 40 x 50 pixels to train on and one to test on, each."""
    rng = np.random.default_rng(0)
    root = tmp_path / 'my photos'
    for split, count in (('train', 4), ('val', 1)):
        for label in ('a', 'b', 'c'):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / label / f'{i}.png')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('RDARTS_DATA', raising=False)
    return root


def config(tmp_path, text=''):
    path = tmp_path / 'my.py'
    path.write_text(FOLDER_SEARCH + text)
    return path


@pytest.mark.slow
def test_own_images_of_another_size_are_retrained_by_one_command(photos, tmp_path):
    """No entry but one key each; a step of training and a validation are done."""
    options = {'data_root': str(photos), 'image_size': 32, 'limit': 6, 'epochs': 1}
    small = {'model.backbone.channels': 4, 'model.backbone.num_cells': 3}
    small.update({f'{name}_dataloader.num_workers': 0 for name in ('train', 'val')})
    small.update({f'{name}_dataloader.persistent_workers': False for name in ('train', 'val')})
    cfg = load_config(RETRAIN, {**options, **small, 'train_dataloader.batch_size': 3})
    set_genotype(cfg, 'DARTS_V2')
    check_model(cfg)
    for source in sources(cfg):
        assert (source.data_root, source.limit) == (str(photos), 6)
    train, test = (cfg[f'{name}_dataloader'].dataset for name in ('train', 'test'))
    assert train.dataset.pipeline[1] == dict(type='RandomResizedCrop', scale=32)
    assert [step.get('scale', step.get('crop_size')) for step in test.pipeline[1:3]] == [37, 32]
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 3
    assert cfg.model.head.in_channels == 64 and cfg.model.head.auxiliary is None
    assert not cfg.model.backbone.auxiliary
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'run'), 'own_images'
    runner = build_runner(cfg, quiet=True)
    runner.train()
    assert runner.iter == 2 and runner.val_loop is not None
    notes = ' / '.join(notes_of(cfg))
    assert '3 classes (folders in my photos/train): model.head, data_preprocessor' in notes
    assert 'RandomResizedCrop.scale 32, ResizeEdge.scale 37, CenterCrop.crop_size 32' in notes
    assert 'no auxiliary head: of images of 32 x 32 the network leaves it 1 pixel' in notes
    assert 'model.head.in_channels 64' in notes


@pytest.mark.parametrize(('side', 'pixels'), [(224, 7), (128, 4), (64, 2)])
def test_the_auxiliary_head_takes_smaller_images(side, pixels):
    options = {'image_size': side, 'num_classes': 3}
    options.update({'model.backbone.channels': 4, 'model.backbone.num_cells': 3})
    cfg = load_config(RETRAIN, options)
    set_genotype(cfg, 'DARTS_V2')
    assert cfg.model.head.auxiliary.in_channels == 64
    import torch

    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    features = model.backbone(torch.zeros(2, 3, side, side))
    assert features[0].shape[2:] == (pixels, pixels)
    assert model.head.auxiliary(features[0]).shape == (2, 3)


def test_a_config_of_ones_own_sets_the_keys_and_what_it_writes_stays(photos, tmp_path):
    text = f'data_root = {str(photos)!r}\nimage_size = 24\nlimit = 5\n'
    cfg = load_config(config(tmp_path, text))
    assert [source.data_root for source in sources(cfg)] == [str(photos)] * 4
    assert cfg.arch_dataloader.dataset.dataset.limit == 5
    assert image_side(cfg) == 24 and cfg.model.head.num_classes == 3
    written = """
test_dataloader = dict(dataset=dict(data_root='elsewhere', limit=2))
model = dict(backbone=dict(channels=4), head=dict(in_channels=64, num_classes=7))
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=20),
    dict(type='PackInputs'),
])))
"""
    cfg = load_config(config(tmp_path, text + written))
    test = cfg.test_dataloader.dataset
    assert (test.data_root, test.limit, test.pipeline[2].crop_size) == ('elsewhere', 2, 24)
    assert image_side(cfg) == 20
    assert (cfg.model.head.in_channels, cfg.model.head.num_classes) == (64, 7)
    assert cfg.data_preprocessor.num_classes == 7  # of the one that is written


def test_options_win_and_change_what_followed_from_a_file(photos, tmp_path):
    """Also in the config that a run has written, where every number stands."""
    path = config(tmp_path, f'data_root = {str(photos)!r}\nimage_size = 24\nlimit = 5\n')
    load_config(path).dump(tmp_path / 'config.py')
    for source in (path, tmp_path / 'config.py'):
        options = dict(data_root='other', image_size=48, limit=9, num_classes=4)
        cfg = load_config(source, options)
        assert [(one.data_root, one.limit) for one in sources(cfg)] == [('other', 9)] * 4
        assert image_side(cfg) == 48
        assert cfg.test_dataloader.dataset.pipeline[1].scale == 55
        assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 4


@pytest.mark.parametrize(
    ('name', 'native'), [('nb201_c10', 32), ('nb201_c100', 32), ('nb201_in16', 16)]
)
def test_sets_in_memory(name, native):
    options = dict(image_size=native, data_root='other', limit=5)
    cfg = load_config(SEARCH / f'rdarts_{name}.py', options)
    crop = dict(type='rdarts.BatchRandomCrop', crop_size=native, padding=native // 8)
    assert cfg.train_dataloader.dataset.dataset.pipeline[0] == crop
    assert len(cfg.test_dataloader.dataset.pipeline) == 1
    assert {(one.data_root, one.limit) for one in sources(cfg)} == {('other', 5)}
    cfg = load_config(SEARCH / f'rdarts_{name}.py', dict(image_size=48))
    crop = dict(type='rdarts.BatchRandomCrop', crop_size=48, padding=6)
    resize = dict(type='rdarts.BatchResize', scale=48)
    assert cfg.train_dataloader.dataset.dataset.pipeline[:2] == [resize, crop]
    assert cfg.test_dataloader.dataset.pipeline[0] == resize


def test_digits_of_another_size_are_read():
    cfg = load_config(SEARCH / 'rdarts_nb201_digits.py', dict(image_size=12, limit=10))
    from mmengine.runner import Runner

    for name in ('train', 'test'):
        loader = cfg[f'{name}_dataloader']
        loader.update(batch_size=5)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            batch = next(iter(Runner.build_dataloader(loader, seed=0)))
        assert batch['inputs'].shape == (5, 3, 12, 12)


@pytest.mark.slow
def test_the_first_classes_of_imagenet16():
    path = SEARCH / 'rdarts_nb201_in16.py'
    assert all('num_classes' not in source for source in sources(load_config(path)))
    cfg = load_config(path, dict(num_classes=20))
    assert {source.num_classes for source in sources(cfg)} == {cfg.model.head.num_classes} == {20}
    assert notes_of(cfg)[1] == '20 classes: model.head, data_preprocessor, rdarts.ImageNet16120'


@pytest.mark.parametrize(
    ('path', 'options', 'message'),
    [
        ('search/rdarts_nb201_c10', dict(image_size=0), 'image_size must be a whole number of'),
        ('search/rdarts_nb201_c10', dict(image_size=32.5), 'image_size must be a whole number'),
        (
            'search/rdarts_nb201_c10',
            dict(limit='x'),
            "limit must be a whole number of at least 1 or None, but is 'x'",
        ),
        ('search/rdarts_nb201_c10', dict(num_classes=True), 'num_classes must be a whole number'),
        (
            'search/rdarts_nb201_c10',
            dict(data_root=5),
            'data_root must be a text or None, but is 5',
        ),
        (
            'search/rdarts_nb201_digits',
            dict(image_size=1),
            'image_size must be .* at least 4 and at',
        ),
        (
            'search/rdarts_nb201_digits',
            dict(image_size=10**9),
            'at most 16384 or None, but is 1000',
        ),
        (
            'search/rdarts_nb201_digits',
            dict(image_size=None),
            'image_size must be a number, such as the 32 of the config, but is None$',
        ),
        (
            'search/rdarts_nb201_digits',
            dict(num_classes=None),
            r'num_classes must be .* the 10 of .*; the classes of rdarts\.Digits are not counted',
        ),
        (
            'search/rdarts_nb201_digits',
            dict(data_root='x'),
            r'--cfg-options: data_root would change nothing: the data sets \(rdarts\.Digits\)',
        ),
    ],
)
def test_what_cannot_be(path, options, message):
    with pytest.raises(UserError, match=message):
        load_config(CONFIGS / f'{path}.py', options)


def test_an_option_that_would_change_nothing(photos, tmp_path):
    pipeline = "[dict(type='LoadImageFromFile'), dict(type='PackInputs')]"
    loaders = ('train', 'arch', 'val')
    text = ''.join(
        f'{name}_dataloader = dict(dataset=dict(dataset=dict(pipeline={pipeline})))\n'
        for name in loaders
    )
    text += f'test_dataloader = dict(dataset=dict(pipeline={pipeline}))\n'
    text += 'model = dict(head=dict(num_classes=3))\ndata_preprocessor = dict(num_classes=3)\n'
    path = config(tmp_path, text)
    for key, place in (('image_size', 'train_dataloader.dataset'), ('num_classes', 'model.head')):
        with pytest.raises(UserError, match=f'{key} would change nothing: .*{place}'):
            load_config(path, {key: 5})


@pytest.mark.slow
def test_classes_are_counted_again_where_an_option_says_so(photos, tmp_path):
    path = config(tmp_path, f'data_root = {str(photos)!r}\nnum_classes = 5\n')
    assert load_config(path).model.head.num_classes == 5
    load_config(path).dump(tmp_path / 'config.py')
    for source in (path, tmp_path / 'config.py'):
        cfg = load_config(source, dict(num_classes=None))
        assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 3
        cfg = load_config(source, dict(num_classes=None, data_root='nowhere'))
        with pytest.raises(UserError, match="num_classes is not set, and cannot be .*'nowhere'"):
            require_classes(cfg)


def test_a_resize_by_a_factor_stays():
    step = dict(type='Resize', scale_factor=0.5)
    loader = dict(dataset=dict(type='CIFAR10', pipeline=[step, dict(type='CenterCrop')]))
    cfg = Config(dict(default_scope='mmpretrain', image_size=16, train_dataloader=loader))
    fill_in(cfg)
    assert cfg.train_dataloader.dataset.pipeline == [step, dict(type='CenterCrop', crop_size=16)]


def test_names_of_detection_are_its_own():
    """The configs of mmdet have an ``image_size`` of two numbers, of which they make others."""
    step = dict(type='Resize', keep_ratio=True)
    loader = dict(dataset=dict(type='CocoDataset', pipeline=[step]))
    cfg = Config(dict(default_scope='mmdet', image_size=(1024, 1024), train_dataloader=loader))
    fill_in(cfg)
    assert cfg.train_dataloader.dataset.pipeline == [step]
    cfg.image_size = 512
    with pytest.raises(UserError, match='image_size would change nothing: detectors write'):
        fill_in(cfg, dict(image_size=(1024, 1024)), ['image_size'])


def test_classes_that_cannot_be_counted(tmp_path, monkeypatch):
    """A config can be read without its images; a run cannot begin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('RDARTS_DATA', raising=False)
    cfg = load_config(RETRAIN, {'model.backbone.num_cells': 3})
    assert 'num_classes' not in cfg.model.head
    with pytest.raises(UserError, match="num_classes is not set, and cannot be .*'image_folder'"):
        require_classes(cfg)
    set_genotype(cfg, 'DARTS_V2')
    with pytest.raises(UserError, match='num_classes is not set'):
        check_model(cfg)


def test_one_entry_leaves_the_auxiliary_head_out():
    for entry in ({'model.head.auxiliary': None}, {'model.backbone.auxiliary': False}):
        cfg = load_config(CONFIGS / 'retrain' / 'darts_c10.py', entry)
        set_genotype(cfg, 'DARTS_V2')
        assert cfg.model.head.auxiliary is None and not cfg.model.backbone.auxiliary


@pytest.mark.slow
def test_heads_follow_a_genotype_of_other_widths():
    cfg = load_config(CONFIGS / 'retrain' / 'darts_c10_16x8.py')
    assert 'in_channels' not in cfg.model.head
    set_genotype(cfg, 'NASNet')  # concatenates more nodes
    check_model(cfg)
    # it concatenates five nodes of the last cell, and three of the auxiliary head's
    assert (cfg.model.head.in_channels, cfg.model.head.auxiliary.in_channels) == (320, 192)
    assert notes_of(cfg)[-1] == 'model.head.in_channels 320, model.head.auxiliary.in_channels 192'


def test_data_sets_of_mmengine_are_limited_by_their_indices():
    source = dict(type='mmpretrain.CIFAR10', data_root='data')
    listed = dict(source, indices=[4, 5])
    cfg = Config(
        dict(limit=3, train_dataloader=dict(dataset=source), val_dataloader=dict(dataset=listed))
    )
    fill_in(cfg)
    assert cfg.train_dataloader.dataset == dict(source, indices=3)
    assert cfg.val_dataloader.dataset == listed
    cfg.limit = 2
    fill_in(cfg, dict(limit=3), ['limit'])
    assert cfg.train_dataloader.dataset.indices == 2


def test_the_image_cache_is_that_of_sets_in_files():
    cfg = Config(
        dict(
            image_cache='2GB',
            train_dataloader=dict(dataset=dict(type='rdarts.ImageFolder')),
            val_dataloader=dict(dataset=dict(type='rdarts.ImageFolder', image_cache='1GB')),
            test_dataloader=dict(dataset=dict(type='rdarts.CIFAR10')),
        )
    )
    fill_in(cfg)
    assert cfg.train_dataloader.dataset.image_cache == '2GB'
    assert cfg.val_dataloader.dataset.image_cache == '1GB'
    assert 'image_cache' not in cfg.test_dataloader.dataset
    small = Config(
        dict(image_cache='2GB', train_dataloader=dict(dataset=dict(type='rdarts.Digits')))
    )
    with pytest.raises(UserError, match='image_cache would change nothing: the data sets .*Digits'):
        fill_in(small, {}, ['image_cache'])


@pytest.mark.slow
@pytest.mark.parametrize('name', ['retinanet_darts_fpn_1x_coco', 'retinanet_darts_fpn_1x_voc0712'])
def test_detection_is_limited(name):
    pytest.importorskip('mmcv.ops', reason='mmcv has no compiled operators')
    cfg = load_config(CONFIGS / 'detection' / f'{name}.py', dict(limit=3))
    found = list(sources(cfg))
    assert len(found) >= 3 and {source.indices for source in found} == {3}


def test_annotations_of_detection_move_with_the_images():
    source = dict(type='rdarts.ImageFolder', data_root='data/coco/')
    evaluator = dict(type='CocoMetric', ann_file='data/coco/annotations/val.json')
    text = dict(data_root='/new', train_dataloader=dict(dataset=source), val_evaluator=[evaluator])
    cfg = Config(text)
    fill_in(cfg, dict(data_root='data/coco/'), ['data_root'])
    assert cfg.train_dataloader.dataset.data_root == '/new'
    assert cfg.val_evaluator[0].ann_file == '/new/annotations/val.json'
