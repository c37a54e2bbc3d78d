"""The DARTS space searched on ImageNet: settings, samples of each class, and runs of small size."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import configs_of_run, methods_of

from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.configuration.retraining import retraining_command, training_images
from rdarts.datasets import check_parts
from rdarts.engine.runner import build_runner
from rdarts.engine.work_dir import prepare_work_dir, set_resume
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.models.backbones.darts_supernet import DARTSSupernet
from rdarts.registry import DATASETS
from rdarts.search_spaces import build_space

SEARCH = configs_folder() / 'search'
LOADERS = ('train_dataloader', 'arch_dataloader', 'val_dataloader')


def load(method: str, options: dict | None = None):
    return load_config(SEARCH / f'{method}_darts_imagenet.py', options)


@pytest.fixture
def imagenet(data_root, tmp_path, monkeypatch) -> Path:
    """Ten classes of ImageNet, 100 training images each."""
    (tmp_path / 'imagenet').symlink_to(data_root / 'imagenet_mini')
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path))
    return tmp_path


# Settings


def test_pc_darts_searches_as_published():
    cfg = load('pc_darts')
    backbone, architect = cfg.model.backbone, cfg.default_hooks.architect
    assert (backbone.space, backbone.channels, backbone.num_cells) == ('darts', 16, 8)
    assert (backbone.stem, backbone.mixed_op.share) == ('imagenet', 2)
    assert backbone.relaxation.type == 'rdarts.EdgeWeights'
    assert (cfg.model.head.num_classes, cfg.model.head.loss.type) == (1000, 'CrossEntropyLoss')
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=3e-4)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=5.0)
    assert architect.arch_clip_grad == 5.0
    assert cfg.arch_optimizer == dict(type='Adam', lr=6e-3, betas=(0.5, 0.999), weight_decay=1e-3)
    assert (architect.start_epoch, cfg.train_cfg.max_epochs, cfg.schedule_epochs) == (35, 50, 50)
    assert architect.get('step_order', 'alpha_first') == 'alpha_first'
    for key in LOADERS:
        dataset = cfg[key].dataset
        assert dataset.subset * dataset.fraction == pytest.approx(0.1)
        assert dataset.subset * (1 - dataset.fraction) == pytest.approx(0.025)
    for key in LOADERS[:2]:
        assert cfg[key].batch_size == 1024
        steps = [step.type for step in cfg[key].dataset.dataset.pipeline]
        assert steps == ['LoadImageFromFile', 'RandomResizedCrop', 'RandomFlip', 'PackInputs']
        assert cfg[key].dataset.dataset.pipeline[1].scale == 224


def test_other_methods_have_its_settings_but_what_they_publish():
    ours = {method: load(method) for method in ('darts', 'darts_minus', 'rdarts', 'drnas')}
    published = load('pc_darts')
    for method, cfg in ours.items():
        assert cfg.optim_wrapper == published.optim_wrapper
        assert cfg.param_scheduler == published.param_scheduler
        assert cfg.arch_optimizer.lr == 6e-3
        batch, rest = (512, 10) if method == 'drnas' else (1024, 35)
        assert cfg.train_dataloader.batch_size == cfg.arch_dataloader.batch_size == batch
        assert cfg.default_hooks.architect.start_epoch == rest
    assert ours['darts_minus'].model.backbone.mixed_op.beta.points == [(0, 1.0), (50, 0.0)]
    fair = load('fairdarts')
    assert (fair.arch_optimizer.lr, fair.optim_wrapper.optimizer.lr) == (3e-3, 0.5)
    assert fair.train_dataloader.batch_size == fair.arch_dataloader.batch_size == 1024
    factor = load('pc_darts_aer').default_hooks.architect.regularizers.aer.lambda_
    assert factor.points == [(35, -0.2), (50, 0.2)]


@pytest.mark.parametrize('method', methods_of('darts'))
def test_every_method_has_a_config(method):
    cfg = load(method, dict(epochs=20))
    assert cfg.model.backbone.stem == 'imagenet'
    runs = configs_of_run(cfg)
    assert sum(one.train_cfg.max_epochs for one in runs) == 20
    for one in runs:
        ends = (20, one.train_cfg.max_epochs)  # of a schedule of all phases, or of this one
        assert one.schedule_epochs in ends
        assert one.param_scheduler is None or one.param_scheduler.end == one.schedule_epochs


def test_epochs_scales_all_of_it():
    cfg = load('pc_darts_aer', dict(epochs=10))
    architect = cfg.default_hooks.architect
    assert (cfg.train_cfg.max_epochs, cfg.schedule_epochs, architect.start_epoch) == (10, 10, 7)
    scheduler = cfg.param_scheduler
    assert (scheduler.warmup, scheduler.T_max, scheduler.end) == (1, 10, 10)
    assert architect.regularizers.aer.lambda_.points == [(7, -0.2), (10, 0.2)]


@pytest.mark.parametrize(
    ('name', 'line'),
    [
        ('pc_darts_s1_imagenet', 'there is no s1 on imagenet, but on c10, c100'),
        ('darts_minus_s4_imagenet', 'there is no s4 on imagenet, but on c10, c100'),
        (
            'pc_darts_nb201_imagenet',
            'there is no nb201 on imagenet, but on c10, c100, digits, in16',
        ),
        ('gdas_darts_in16', 'there is no darts on in16, but on c10, c100, imagenet'),
        (
            'pc_darts_darts_imagnet',
            f"did you mean '{SEARCH / 'pc_darts_darts_imagenet.py'}'?",
        ),
    ],
)
def test_a_space_and_data_that_do_not_go_together(name, line):
    path = SEARCH / f'{name}.py'
    with pytest.raises(UserError) as error:
        load_config(path)
    assert str(error.value) == f'config not found: {path}: {line}'


# The supernet


def test_the_stem_is_the_published_one():
    net = DARTSSupernet(stem='imagenet', num_cells=8)
    convolutions = [net.stem0[0], net.stem0[3], net.stem1[1]]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(3, 24), (24, 48), (48, 48)]
    assert all(c.stride == (2, 2) and c.kernel_size == (3, 3) for c in convolutions)
    sizes = []
    net.stem1.register_forward_hook(lambda *args: sizes.append(args[2].shape))
    # the first cell halves what the first stem gives
    net.preprocess0[0].register_forward_hook(lambda *args: sizes.append(args[2].shape))
    net.execution = 'plain'
    with torch.no_grad():
        (out,) = net(torch.randn(1, 3, 224, 224))
    assert sizes == [(1, 48, 28, 28), (1, 16, 28, 28)]
    assert out.shape == (1, 256, 7, 7)
    # 1,930,618 of the published network of CIFAR-10 less its stem and its classifier
    cells = 1_930_618 - (3 * 48 * 9 + 2 * 48) - (256 * 10 + 10)
    stems = 3 * 24 * 9 + 2 * 24 + 24 * 48 * 9 + 2 * 48 + 48 * 48 * 9 + 2 * 48
    alphas = {id(alpha) for alpha in net.arch_parameters.values()}
    found = sum(p.numel() for p in net.parameters() if id(p) not in alphas)
    assert found == cells + stems


# Samples of each class


def parts_of(cfg) -> dict:
    return {key: DATASETS.build(cfg[key].dataset) for key in LOADERS}


def test_both_parts_have_their_share_of_every_class(imagenet):
    options = {'num_classes': 10}
    parts = parts_of(load('pc_darts', options))
    weights, alpha, val = (parts[key] for key in LOADERS)
    check_parts(weights, alpha)
    assert np.bincount(weights.get_gt_labels()).tolist() == [10] * 10
    assert np.bincount(alpha.get_gt_labels()).tolist() == [3] * 5 + [2] * 5
    assert not set(weights.indices) & set(alpha.indices)
    np.testing.assert_array_equal(val.indices, alpha.indices)
    again = parts_of(load('darts', options))
    for key in LOADERS:
        np.testing.assert_array_equal(parts[key].indices, again[key].indices)
    other = parts_of(load('darts', {**options, **{f'{key}.dataset.seed': 1 for key in LOADERS}}))
    assert len(set(other['train_dataloader'].indices) & set(weights.indices)) < 40


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('subset', 0, r'train_dataloader\.dataset\.subset must be'),
        ('subset', 1.1, r'train_dataloader\.dataset\.subset must be'),
        ('fraction', 0, r'train_dataloader\.dataset\.fraction must be'),
        ('fraction', 1, r'train_dataloader\.dataset\.fraction must be'),
    ],
)
def test_shares_that_cannot_be(key, value, message):
    with pytest.raises(UserError, match=message):
        load('pc_darts', {f'train_dataloader.dataset.{key}': value})


def test_a_class_without_an_image(imagenet):
    with pytest.raises(UserError, match='leave alpha no image of 5 classes, such as class 5 of 20'):
        parts_of(load('pc_darts', dict(num_classes=10, limit=200)))


# Runs


def run(work_dir: Path, resume: str | bool = False):
    """Two epochs of two iterations, in the first of which alpha rests."""
    options = {
        **{'epochs': 2, 'num_classes': 10, 'image_size': 32},
        **{'model.backbone.channels': 4, 'model.backbone.num_cells': 3},
        **{'model.backbone.execution': 'fused', 'optim_wrapper.optimizer.lr': 0.05},
        **{'default_hooks.checkpoint.iter_interval': 1, 'default_hooks.report': None},
        **{'default_hooks.checkpoint.max_keep_ckpts': -1, 'default_hooks.search_log.interval': 1},
    }
    for key, size in zip((*LOADERS, 'test_dataloader'), (50, 10, 25, 25), strict=True):
        options.update({f'{key}.batch_size': size, f'{key}.num_workers': 0})
        options[f'{key}.persistent_workers'] = False
    cfg = load('pc_darts', options)
    cfg.work_dir, cfg.experiment_name = str(work_dir), uuid.uuid4().hex
    prepare_work_dir(work_dir, keep=bool(resume))
    if resume:
        set_resume(cfg, resume)
    runner = build_runner(cfg)
    runner.train()
    return runner


@pytest.mark.slow
def test_a_search_resumes_bit_equal_and_its_genotype_can_be_retrained(imagenet, tmp_path):
    whole = run(tmp_path / 'whole')
    expected = whole.model.state_dict()
    split = json.loads((tmp_path / 'whole' / 'split.json').read_text())
    assert split['sizes'] == dict(weights=100, alpha=25)
    text = (tmp_path / 'whole' / 'search_log.jsonl').read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    moved = [row['iter'] for row in rows if row['kind'] == 'iter' and 'arch_loss' in row]
    assert moved == [3, 4]
    for iteration in (1, 2, 3):
        folder = tmp_path / f'from_{iteration}'
        again = run(folder, str(tmp_path / 'whole' / f'iter_{iteration}.pth'))
        found = again.model.state_dict()
        different = [key for key, value in expected.items() if not torch.equal(found[key], value)]
        assert not different, (iteration, different)
        assert json.loads((folder / 'split.json').read_text()) == split
    space = build_space('darts')
    load_genotype(tmp_path / 'whole' / 'genotype.json').validate(space)
    line = retraining_command(tmp_path / 'whole', space, training_images(whole.cfg))
    assert 'configs/retrain/darts_imagenet.py --genotype' in line
    retraining = load_config(configs_folder() / 'retrain' / 'darts_imagenet.py')
    set_genotype(retraining, str(tmp_path / 'whole'))
    check_model(retraining)
