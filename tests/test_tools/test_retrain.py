"""Retraining and evaluation by the tools: genotypes, resuming, EMA, other classes, own images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import TOOLS, Finished, run_tool, write_small_search

from rdarts.apis import build_net
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.genotypes import load_genotype
from rdarts.models.multiply_adds import count_macs

CONFIGS = TOOLS.parent / 'configs'
NB201 = '|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|'
DARTS = """
_base_ = [
    '{configs}/_base_/models/darts_net_cifar.py',
    '{configs}/_base_/datasets/digits.py',
    '{configs}/_base_/retrain_darts_runtime.py',
    '{configs}/_base_/schedules/retrain_darts_cifar.py',
]
model = dict(
    backbone=dict(channels=4, num_cells=3, in_channels={channels}),
    head=dict(in_channels=64, auxiliary=dict(in_channels=64)),
)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        _delete_=True,
        type='rdarts.SeededDataset',
        dataset=dict(
            type='rdarts.Digits', split='train', limit=48, pipeline={{{{_base_.train_pipeline}}}}
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type='rdarts.Digits', split='test', pipeline={{{{_base_.test_pipeline}}}}
    )
)
arch_dataloader = None
train_cfg = dict(max_epochs=2)
param_scheduler = dict(T_max=2, end=2)
default_hooks = dict(checkpoint=dict(iter_interval=4))
"""


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    """A DARTS network on digits that trains in seconds, with auxiliary head and drop-path."""
    path = tmp_path_factory.mktemp('retrain') / 'small.py'
    path.write_text(DARTS.format(configs=CONFIGS, channels=3))
    return path


@pytest.fixture(scope='module')
def reference(config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('reference')
    done = train(config, folder, '--genotype', 'DARTS_V2')
    assert done.code == 0, done.err
    return folder


def train(config: Path, work_dir: Path, *args: object) -> Finished:
    return run_tool(['train.py', config, '--work-dir', work_dir, *args])


def refused(done: Finished, *texts: str) -> None:
    lines = [line for line in done.err.splitlines() if line.startswith('error: ')]
    assert done.code == 2 and 'Traceback' not in done.err and len(lines) == 1, done.err
    assert all(text in lines[0] for text in texts), lines[0]


def newest(folder: Path) -> dict:
    return read_checkpoint((folder / 'last_checkpoint').read_text().strip())


def test_the_run_stores_its_genotype_as_data(reference):
    text = (reference / 'config.py').read_text()
    assert 'genotype=dict(' in text.replace(' ', '')[:100_000]
    assert any(key.startswith('head.auxiliary.') for key in newest(reference)['state_dict'])


def test_the_stored_config_evaluates_the_newest_checkpoint(reference, tmp_path):
    out = tmp_path / 'figures.json'
    done = run_tool(['test.py', reference / 'config.py', reference, '--out', out])
    assert done.code == 0, done.err
    figures = json.loads(out.read_text())
    assert set(figures) == {'accuracy/top1'} or 'accuracy/top1' in figures
    log = next(reference.glob('*/vis_data/scalars.json')).read_text().splitlines()
    validations = [json.loads(line) for line in log if 'accuracy/top1' in line]
    assert figures['accuracy/top1'] == pytest.approx(validations[-1]['accuracy/top1'], abs=1e-3)
    assert f'accuracy/top1: {figures["accuracy/top1"]:.4f}' in done.out


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_not(config, reference, tmp_path):
    for path in reference.glob('*.pth'):
        if path.name == 'iter_4.pth':
            shutil.copy(path, tmp_path)
    if not list(tmp_path.glob('*.pth')):  # of three kept
        names = sorted(path.name for path in reference.glob('*.pth'))
        earliest = next(name for name in names if name != 'epoch_2_iter_12.pth')
        shutil.copy(reference / earliest, tmp_path)
    done = train(config, tmp_path, '--genotype', 'DARTS_V2', '--resume')
    assert done.code == 0, done.err
    left, right = newest(tmp_path)['state_dict'], newest(reference)['state_dict']
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.slow
def test_an_average_of_the_weights_is_resumed_too(config, tmp_path):
    ema = ['default_hooks.ema.type=EMAHook', 'default_hooks.ema.momentum=0.1']
    options = ['--genotype', 'DARTS_V2', '--cfg-options', *ema]
    whole, halves = tmp_path / 'whole', tmp_path / 'halves'
    assert train(config, whole, *options).code == 0
    assert 'ema_state_dict' in newest(whole)
    done = train(config, halves, *options, 'train_cfg.max_epochs=1')
    assert done.code == 0, done.err
    done = train(config, halves, '--resume', *options)
    assert done.code == 0, done.err
    for key in ('state_dict', 'ema_state_dict'):
        left, right = newest(halves)[key], newest(whole)[key]
        assert all(torch.equal(left[name], right[name]) for name in right), key


@pytest.mark.slow
def test_a_found_genotype_is_retrained_from_its_work_directory(tmp_path):
    search = write_small_search(tmp_path, space='darts', images=16)
    assert train(search, tmp_path / 'search').code == 0
    config = tmp_path / 'retrain.py'
    config.write_text(DARTS.format(configs=CONFIGS, channels=3))
    one_epoch = ['--cfg-options', 'train_cfg.max_epochs=1']
    done = train(config, tmp_path / 'run', '--genotype', tmp_path / 'search', *one_epoch)
    assert done.code == 0, done.err
    found = load_genotype(tmp_path / 'search')
    assert (
        str(found.to_dict()['cells']['normal']['nodes'][0][0][0])
        in (tmp_path / 'run' / 'config.py').read_text()
    )


@pytest.mark.parametrize(
    ('genotype', 'texts'),
    [
        ('DARTS_V3', ["no file is named 'DARTS_V3'", "did you mean 'DARTS_V"]),
        (NB201, ['rdarts.DARTSNet makes none: use one of configs/retrain: nb201_c10']),
        ('NASNet', ['model.head.in_channels=48', 'model.head.auxiliary.in_channels=48']),
        ('missing.json', ['cannot read the genotype missing.json']),
        (None, ['needs a genotype: --genotype FILE', 'DARTS_V2']),
    ],
)
def test_genotypes_that_do_not_fit(config, genotype, texts, tmp_path):
    args = [] if genotype is None else ['--genotype', genotype]
    refused(train(config, tmp_path / 'run', *args), *texts)
    assert not (tmp_path / 'run').exists()


def test_a_search_takes_no_genotype(tmp_path):
    search = write_small_search(tmp_path)
    done = train(search, tmp_path / 'run', '--genotype', 'DARTS_V2')
    refused(done, 'rdarts.NASBench201Supernet, takes none: use a config of configs/retrain')


@pytest.mark.slow
def test_weights_of_other_classes(config, reference, tmp_path):
    weights = (reference / 'last_checkpoint').read_text().strip()
    checkpoint = torch.load(weights, weights_only=True)
    state = checkpoint['state_dict']
    for key in state:
        if key.startswith('head.') and state[key].shape[:1] == (10,):
            state[key] = torch.cat([state[key], state[key][:1]])
    other = tmp_path / 'of_11_classes.pth'
    torch.save(checkpoint, other)
    options = [
        *('--genotype', 'DARTS_V2', '--cfg-options', f'load_from={other}'),
        'train_cfg.max_epochs=1',
    ]
    done = train(config, tmp_path / 'run', *options)
    refused(done, "its 'head.fc.weight' is [11, 64], but [10, 64] is needed", '--new-head loads')
    done = train(config, tmp_path / 'run', *options, '--new-head')
    assert done.code == 0, done.err
    done = run_tool(['test.py', config, weights, '--genotype', 'DARTS_V1'])
    refused(done, 'does not fit this network', 'config and genotype')


def test_an_option_with_a_dict_within_brackets(config, tmp_path):
    option = "custom_hooks=[dict(type='EMAHok',momentum=0.1)]"
    done = train(config, tmp_path / 'run', '--cfg-options', option)
    refused(done, "unknown hook 'EMAHok' (custom_hooks.0): did you mean 'EMAHook'?")


def test_what_cannot_be_evaluated(config, tmp_path):
    genotype = ['--genotype', 'DARTS_V2']
    refused(run_tool(['test.py', config, tmp_path, *genotype]), f'no checkpoint in {tmp_path}')
    gone = tmp_path / 'gone.pth'
    refused(run_tool(['test.py', config, gone, *genotype]), f'checkpoint not found: {gone}')


@pytest.mark.data
def test_images_of_ones_own(data_root, tmp_path):
    options = [
        *('train_cfg.max_epochs=1', 'model.backbone.channels=4', 'model.backbone.num_cells=3'),
        *('model.head.in_channels=64', 'model.head.auxiliary=None'),
        *('model.backbone.auxiliary=False', 'train_dataloader.num_workers=0'),
        *('train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0'),
        'val_dataloader.persistent_workers=False',
    ]
    for split in ('train', 'val'):
        where = 'dataset.dataset' if split == 'train' else 'dataset'
        options += [
            f'{split}_dataloader.{where}.data_root={data_root / "imagenet_mini"}',
            f'{split}_dataloader.{where}.limit=40',
            f'{split}_dataloader.{where}.pipeline.1.scale=64',
        ]
    config = CONFIGS / 'retrain' / 'darts_image_folder.py'
    done = train(config, tmp_path, '--genotype', 'DARTS_V2', '--cfg-options', *options)
    assert done.code == 0, done.err
    assert newest(tmp_path)['state_dict']['head.fc.weight'].shape == (10, 64)


# Complexity


def complexity(*args: object) -> Finished:
    return run_tool(['analysis/complexity.py', *args])


def test_complexity_of_layers():
    layers = ' - '.join(['mbconv_k3_e6'] * 21)
    args = ['--genotype', layers, '--shape', 3, 224, 224, '--no-latency']
    done = complexity(*args, '--json')
    assert done.code == 0, done.err
    found = json.loads(done.out.splitlines()[-1])
    net = build_net(layers, 1000, stem='imagenet')
    assert found['parameters'] == sum(p.numel() for p in net.parameters()) == 4_684_776
    assert found['macs'] == count_macs(net, torch.zeros(3, 224, 224)) == 472_620_800
    assert found['network'] == 'MobileNetLikeNet, imagenet stem, 21 layers, 1000 classes'
    done = complexity(*args, '--width', 8)
    assert done.code == 2 and "those of layers are its space's" in done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ('args', 'parameters', 'macs', 'stem'),
    [
        (['--shape', 3, 224, 224], 4_718_752, 529_911_552, 'imagenet stem, 48 channels, 14 cells'),
        (['--shape', 3, 32, 32], 3_349_342, 528_359_040, 'cifar stem, 36 channels, 20 cells'),
        ([], 3_349_342, 528_359_040, '10 classes'),
    ],
)
def test_complexity_of_a_published_genotype(args, parameters, macs, stem):
    done = complexity('--genotype', 'DARTS_V2', *args, '--no-latency', '--json')
    assert done.code == 0, done.err
    found = json.loads(done.out.splitlines()[-1])
    assert (found['parameters'], found['macs']) == (parameters, macs)
    assert found['macs_all_operations'] > macs and stem in found['network']
    done = complexity('--genotype', 'DARTS_V2', *args, '--no-latency')
    assert f'{parameters:,}' in done.out and f'{macs:,}' in done.out


@pytest.mark.slow
def test_complexity_by_hand_and_measured():
    """A stem, one 1x1 convolution on an edge, and the layers around."""
    cell = '|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|'
    sizes = ['--width', 8, '--depth', 1, '--num-classes', 7, '--shape', 1, 8, 8]
    done = complexity('--genotype', cell, *sizes, '--json', '--repeats', 2)
    assert done.code == 0, done.err
    found = json.loads(done.out.splitlines()[-1])
    stem, reductions = 9 * 8 * 64, 0
    for width, pixels in ((16, 16), (32, 4)):
        reductions += pixels * (9 * width // 2 * width + 9 * width * width + width // 2 * width)
    edges = 8 * 8 * 64 + 16 * 16 * 16 + 32 * 32 * 4
    assert found['macs'] == stem + edges + reductions + 32 * 7
    outputs = 8 * 64 + 3 * 16 * 16 + 3 * 32 * 4 + (8 * 64 + 16 * 16 + 32 * 4) + 7
    assert found['activations'] == outputs
    assert found['latency_ms'] > 0 and found['peak_memory_mb'] >= 0


def test_complexity_of_a_config(config):
    done = complexity(config, '--genotype', 'DARTS_V2', '--no-latency', '--json')
    assert done.code == 0, done.err
    by_config = json.loads(done.out.splitlines()[-1])
    done = complexity(
        *('--genotype', 'DARTS_V2', '--width', 4, '--depth', 3, '--no-latency', '--json')
    )
    by_sizes = json.loads(done.out.splitlines()[-1])
    assert '4 channels, 3 cells,' in by_sizes['network']
    for key in ('parameters', 'macs', 'activations'):
        assert by_config[key] == by_sizes[key], key


@pytest.mark.parametrize(
    ('args', 'text'),
    [
        ([], 'give a config, --genotype or --network'),
        (['--genotype', 'DARTS_V9'], 'did you mean'),
        (['--genotype', 'DARTS_V2', '--width', 0], '--width must be 1 or more, but is 0'),
        (['--genotype', 'DARTS_V2', '--shape', 3, 0, 32], '--shape must be three positive'),
        (['gone.py'], 'config not found: gone.py'),
    ],
)
def test_complexity_of_what_does_not_fit(args, text):
    refused(complexity(*args), text)


def test_complexity_of_images_of_other_channels(config):
    args = [config, '--genotype', 'DARTS_V2', '--shape', 1, 28, 28, '--no-latency']
    line = f'--shape has 1 channel, but the network reads 3: ImageClassifier of {config}'
    refused(complexity(*args), line)
    grey = [
        'model.backbone.in_channels=1',
        'data_preprocessor.mean=[0]',
        'data_preprocessor.std=[1]',
    ]
    done = complexity(*args, '--json', '--cfg-options', *grey)
    assert done.code == 0, done.err
    assert json.loads(done.out.splitlines()[-1])['shape'] == [1, 28, 28]
