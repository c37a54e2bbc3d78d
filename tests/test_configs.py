"""Every config: what it sets, what it shares with its neighbours, and that it runs."""

from __future__ import annotations

import copy
import functools
import json
import math
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import write_cifar, write_imagenet16
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmpretrain.registry import MODELS, TRANSFORMS

from rdarts.apis.dry_run import dry_run
from rdarts.configuration.composition import is_config
from rdarts.configuration.load import check_model, load_config
from rdarts.engine.facts import Facts
from rdarts.engine.runner import build_runner
from rdarts.errors import UserError
from rdarts.hooks.genotype import GenotypeHook
from rdarts.registry import HOOKS
from rdarts.search_spaces import build_space

ROOT = Path(__file__).resolve().parent.parent
BER = dict(type='rdarts.BatchEntropyDecay', lambda_=0)
SEARCH = ROOT / 'configs' / 'search'
BASE = ROOT / 'configs' / '_base_'
ON_IMAGENET = [f'{m}_darts_imagenet' for m in ('darts', 'darts_2nd', 'rdarts')]
LAYERWISE = [f'{m}_mobilenet_like_{d}' for m in ('darts', 'rdarts') for d in ('c10', 'imagenet')]
DARTS_SPACES = ('darts', 's1', 's2', 's3', 's4')
CLASSES = dict(c10=10, c100=100, in16=120, digits=10)
DATASETS = dict(
    c10='rdarts.CIFAR10',
    c100='rdarts.CIFAR100',
    in16='rdarts.ImageNet16120',
    digits='rdarts.Digits',
)
# alphas of both cell types
ALPHAS = dict(nb201=6 * 5, darts=28 * 8, s1=28 * 2, s2=28 * 2, s3=28 * 3, s4=28 * 2)
METHODS = ('darts', 'darts_2nd', 'rdarts')
# (lambda, epochs) of r-DARTS in NAS-Bench-201, by what follows the space in a config's name
R_DARTS = dict(c10=(0.75, 5), c100=(0.75, 5), in16=(0.75, 5), c10_l050=(0.5, 15), digits=(0.75, 10))


def expected_names() -> set[str]:
    names = {f'{m}_{s}_{d}' for m in METHODS for s in DARTS_SPACES for d in ('c10', 'c100')}
    nb201 = {f'{m}_nb201_{d}' for m in METHODS for d in ('c10', 'c100')}
    nb201 |= {'darts_nb201_in16', 'rdarts_nb201_in16', 'rdarts_nb201_c10_l050'}
    nb201 |= {f'{name}_short' for name in nb201}
    return names | nb201 | {'darts_nb201_digits', 'rdarts_nb201_digits'}


NAMES = sorted(expected_names())


def parts(name: str) -> tuple[str, str, str, str, bool]:
    """Method, space, data, the rest of a config's name, and whether it is a short one."""
    found = re.fullmatch(
        r'(darts|darts_2nd|rdarts)_(nb201|darts|s\d)_([a-z]+\d*)(_l\d+)?(_short)?', name
    )
    assert found, name
    method, space, data, suffix, short = found.groups()
    return method, space, data, suffix or '', bool(short)


@functools.cache
def load_once(name: str):
    return load_config(SEARCH / f'{name}.py')


def load(name: str, options: dict | None = None):
    return (
        load_config(SEARCH / f'{name}.py', options) if options else copy.deepcopy(load_once(name))
    )


def plain(name: str) -> dict:
    return load(name).to_dict()


def test_there_are_the_configs_that_the_docs_list():
    text = (ROOT / 'docs' / 'en' / 'configs.md').read_text(encoding='utf-8')
    pattern = r'`(r?darts_\w+_(?:c10|c100|in16|digits|imagenet)(?:_\w+)?)`'
    names = {*NAMES, *ON_IMAGENET, *LAYERWISE}
    assert set(re.findall(pattern, text)) == names
    written = {path.stem for path in SEARCH.glob('*.py')}
    assert written <= names
    assert len(written) < 120
    assert all(is_config(SEARCH / f'{name}.py') for name in names)


@pytest.mark.parametrize('name', sorted(path.stem for path in SEARCH.glob('*.py')))
def test_a_config_says_what_it_is(name):
    text = (SEARCH / f'{name}.py').read_text(encoding='utf-8')
    doc = text.split('"""')[1]
    method, space, data = re.fullmatch(r'(r?darts)_(\w+)_([a-z]+\d*)', name).groups()
    assert len(text.splitlines()) <= 20
    assert doc.startswith('r-DARTS' if method == 'rdarts' else 'DARTS')
    titles = dict(
        c10='CIFAR-10',
        c100='CIFAR-100',
        in16='ImageNet16-120',
        digits='digits',
        imagenet='ImageNet-1k',
    )
    assert re.search(rf'{titles[data]}\b(?!0)', doc)
    if re.fullmatch(r's\d', space):
        assert space.upper() in doc and 'cutout' in doc


def test_an_overlay_says_what_is_the_papers_and_what_is_ours():
    text = (BASE / 'methods' / 'rdarts.py').read_text(encoding='utf-8')
    doc = ' '.join(text.split('"""')[1].split())
    for name, value in (('rdarts_darts_c10', '1'), ('rdarts_nb201_c10', '.75')):
        cfg = load(name)
        assert f'{cfg.default_hooks.architect.lambda_:g}'.removeprefix('0') == value
        assert f'lambda {value}' in doc
    assert f'and {load("rdarts_nb201_c10").train_cfg.max_epochs} epochs' in doc
    assert 'appendix is not available' in doc and 'our choice' in doc
    doc = (BASE / 'methods' / 'darts_2nd.py').read_text(encoding='utf-8')
    assert 'second order' in doc
    doc = (BASE / 'variants' / 'l050.py').read_text(encoding='utf-8')
    assert (
        'lambda .5' in doc and f'{load("rdarts_nb201_c10_l050").train_cfg.max_epochs} epochs' in doc
    )


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_numbers(name):
    method, space, data, suffix, short = parts(name)
    cfg = load(name)
    architect = cfg.default_hooks.architect

    # the method
    if method == 'rdarts':
        assert architect.type == 'rdarts.BERArchitectHook'
        assert architect.lambda_ == (R_DARTS[data + suffix][0] if space == 'nb201' else 1.0)
    else:
        assert architect.type == 'rdarts.ArchitectHook'
        assert 'lambda_' not in architect
    assert architect.regularizers == dict(ber=BER)
    assert architect.get('order', 1) == (2 if method == 'darts_2nd' else 1)
    assert architect.get('step_order', 'alpha_first') == 'alpha_first'
    assert architect.get('start_epoch', 0) == 0

    # epochs
    if method == 'rdarts' and space == 'nb201':
        epochs = R_DARTS[data + suffix][1]
        schedule = epochs if short else 100
    else:
        epochs = schedule = 100 if space == 'nb201' and not short else 50
        epochs = 10 if data == 'digits' else epochs
    assert cfg.train_cfg.type == 'rdarts.SearchTrainLoop'
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.schedule_epochs == schedule
    assert cfg.param_scheduler == dict(
        type='CosineAnnealingLR', T_max=schedule, end=schedule, eta_min=1e-3, by_epoch=True
    )

    # D0: the optimizers
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.025, momentum=0.9, weight_decay=3e-4
    )
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=5.0)
    assert cfg.optim_wrapper.constructor == 'rdarts.SearchOptimWrapperConstructor'
    assert cfg.arch_optimizer == dict(
        type='Adam',
        lr=3e-3 if data == 'digits' else 3e-4,
        betas=(0.5, 0.999),
        weight_decay=1e-3,
    )

    # the network
    backbone = cfg.model.backbone
    assert (backbone.affine, backbone.track_running_stats) == (False, True)
    assert backbone.relaxation == dict(type='rdarts.Softmax')
    assert backbone.alpha_std == 1e-3
    assert backbone.channels == 16
    if space == 'nb201':
        assert backbone.type == 'rdarts.NASBench201Supernet'
        assert backbone.space == 'nas_bench_201'
        assert backbone.cells_per_stage == (1 if data == 'digits' else 5)
    else:
        assert backbone.type == 'rdarts.DARTSSupernet'
        assert (backbone.space, backbone.num_cells, backbone.stem) == (space, 8, 'cifar')
    assert cfg.model.head.num_classes == CLASSES[data]
    assert cfg.data_preprocessor.num_classes == CLASSES[data]

    # the data: two halves, no cutout
    for part, loader in (('weights', cfg.train_dataloader), ('alpha', cfg.arch_dataloader)):
        assert loader.batch_size == 64
        assert (loader.dataset.part, loader.dataset.fraction) == (part, 0.5)
        assert (loader.dataset.dataset.type, loader.dataset.dataset.split) == (
            DATASETS[data], 'train'
        )  # fmt: skip
        assert not any('Cutout' in step.type for step in loader.dataset.dataset.pipeline)

    if space != 'nb201':
        assert 'benchmark' not in cfg.default_hooks
    elif data != 'digits':
        assert cfg.default_hooks.benchmark == dict(type='rdarts.TabularBenchmarkHook')


def test_the_darts_space_has_all_eight_operations_and_no_perturbation():
    for name in ('darts_darts_c10', 'rdarts_darts_c10'):
        backbone = load(name).model.backbone
        groups = build_space(backbone.space).groups
        assert {len(group.candidates) for group in groups} == {8}
        assert all('none' in group.candidates for group in groups)
        assert backbone.relaxation.type == 'rdarts.Softmax'


def without(cfg: dict, *keys: str) -> dict:
    """A config less some dotted keys."""
    for key in keys:
        *path, last = key.split('.')
        inner = cfg
        for step in path:
            inner = inner[step]
        inner.pop(last, None)
    return cfg


@pytest.mark.parametrize('name', [name for name in NAMES if name.startswith('rdarts')])
def test_r_darts_differs_from_darts_by_its_architect_and_epochs_alone(name):
    _, space, data, _, short = parts(name)
    base = f'darts_{space}_{data}'
    keys = ['default_hooks.architect']
    if space == 'nb201':
        keys += ['train_cfg.max_epochs']
    if short:
        keys += ['schedule_epochs', 'param_scheduler.T_max', 'param_scheduler.end']
    assert plain(base) != plain(name)
    assert without(plain(base), *keys) == without(plain(name), *keys)
    architect = load(name).default_hooks.architect
    assert set(architect) == {'type', 'start_epoch', 'lambda_', 'regularizers'}


@pytest.mark.parametrize('name', [name for name in NAMES if name.startswith('darts_2nd')])
def test_second_order_differs_by_its_order_alone(name):
    first = plain(name.replace('darts_2nd', 'darts'))
    second = plain(name)
    assert second['default_hooks']['architect'].pop('order') == 2
    assert first == second


@pytest.mark.parametrize('name', [name for name in NAMES if name.endswith('_short')])
def test_a_short_one_anneals_within_its_epochs(name):
    long, short = plain(name.removesuffix('_short')), plain(name)
    assert long['schedule_epochs'] == 100
    assert short['schedule_epochs'] == short['train_cfg']['max_epochs'] < 100
    if name.startswith('rdarts'):
        assert long['train_cfg']['max_epochs'] == short['train_cfg']['max_epochs']
    keys = [
        'schedule_epochs',
        'param_scheduler.T_max',
        'param_scheduler.end',
        'train_cfg.max_epochs',
    ]
    assert without(long, *keys) == without(short, *keys)


@pytest.mark.parametrize('space', DARTS_SPACES[1:])
@pytest.mark.parametrize('method', METHODS)
def test_a_sub_space_differs_from_the_darts_space_by_its_table_alone(method, space):
    assert without(plain(f'{method}_darts_c10'), 'model.backbone.space') == without(
        plain(f'{method}_{space}_c10'), 'model.backbone.space'
    )


@pytest.mark.parametrize(
    ('name', 'parameters'), [('rdarts_nb201_c10', 1_686_106), ('rdarts_darts_c10', 1_930_618)]
)
def test_a_whole_network_has_the_published_size(name, parameters):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(load(name).model)
    alphas = sum(alpha.numel() for alpha in model.backbone.arch_parameters.values())
    assert sum(p.numel() for p in model.parameters()) - alphas == parameters


# The head


@pytest.mark.parametrize(
    ('space', 'factor'), [('nb201', 4), *((space, 16) for space in DARTS_SPACES)]
)
def test_the_head_takes_what_the_supernet_gives(space, factor):
    name = f'rdarts_{space}_c10'
    cfg = load(name)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        backbone = MODELS.build(cfg.model.backbone)
    assert backbone.out_channels == cfg.model.head.in_channels == factor * 16
    narrow = {'model.backbone.channels': 4}
    assert load(name, narrow).model.head.in_channels == factor * 4
    with pytest.raises(UserError, match=rf'set model\.head\.in_channels={factor * 4}$'):
        load(name, {**narrow, 'model.head.in_channels': factor * 16})


@pytest.mark.slow
@pytest.mark.parametrize(('num_cells', 'features'), [(1, 16), (2, 32), (3, 32), (4, 32), (8, 32)])
def test_the_head_follows_the_number_of_reductions(num_cells, features):
    options = {'model.backbone.num_cells': num_cells, 'model.backbone.channels': 2}
    with pytest.raises(UserError, match=f'the network gives {features} features'):
        load('rdarts_s2_c10', {**options, 'model.head.in_channels': 99})
    cfg = load('rdarts_s2_c10', options)
    assert cfg.model.head.in_channels == features
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert MODELS.build(cfg.model.backbone).out_channels == features


def test_the_head_of_a_table_of_ones_own_is_not_judged(tmp_path):
    cell = dict(num_inputs=2, num_nodes=4, candidates=['none', 'skip_connect'], output='concat')
    space = dict(type='CellSpace', name='own', cells=dict(normal=cell, reduce=cell), _delete_=True)
    path = tmp_path / 'own.py'
    path.write_text(
        f'_base_ = [{str(SEARCH / "rdarts_darts_c10.py")!r}]\n'
        f'model = dict(backbone=dict(space={space!r}), head=dict(in_channels=128))\n'
    )
    cfg = load_config(path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert MODELS.build(cfg.model.backbone).out_channels == cfg.model.head.in_channels


# Options


def runner_of(cfg, work_dir: Path):
    """Built, not run; mmengine keeps loggers by name, so each has its own."""
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = uuid.uuid4().hex
    return build_runner(cfg, quiet=True)


@pytest.mark.slow
def test_lambda_is_set_on_the_command_line(data, tmp_path):
    cfg = load('rdarts_darts_c10', {'default_hooks.architect.lambda_': 0.75})
    assert cfg.default_hooks.architect == dict(
        type='rdarts.BERArchitectHook', start_epoch=0, lambda_=0.75, regularizers=dict(ber=BER)
    )
    runner = runner_of(shrink(cfg), tmp_path)
    architect = next(hook for hook in runner.hooks if type(hook).__name__ == 'BERArchitectHook')
    (ber,) = architect.architect.regularizers.values()
    assert ber.lambda_.at(30) == 0.75


def test_the_length_of_a_search_and_of_its_schedule_are_apart():
    before, cfg = load('rdarts_nb201_c10'), load('rdarts_nb201_c10', {'train_cfg.max_epochs': 8})
    assert (before.train_cfg.max_epochs, cfg.train_cfg.max_epochs) == (5, 8)
    assert before.param_scheduler == cfg.param_scheduler
    assert load('rdarts_nb201_c10', {'param_scheduler.T_max': 8}).train_cfg.max_epochs == 5


@pytest.mark.parametrize(
    ('name', 'last'), [('rdarts_nb201_c10', 0.0249), ('rdarts_nb201_c10_short', 0.0033)]
)
def test_the_learning_rate_of_the_fifth_epoch(data, tmp_path, name, last):
    runner = runner_of(shrink(load(name)), tmp_path)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    schedulers = runner.build_param_scheduler(runner.param_schedulers)
    for _ in range(4):
        runner.optim_wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    # 1e-3 + .024 (1 + cos(pi 4 / T)) / 2
    assert runner.optim_wrapper.get_lr()['lr'][0] == pytest.approx(last, abs=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('allow_none', 'found'), [('True', '|none~0|'), ('False', '|nor_conv_3x3~0|')]
)
def test_whether_none_may_be_derived_is_an_option(data, tmp_path, allow_none, found):
    options = {
        'default_hooks.genotype.discretizer.type': 'Argmax',
        'default_hooks.genotype.discretizer.allow_none': allow_none == 'True',
    }
    runner = runner_of(shrink(load('rdarts_nb201_c10', options)), tmp_path)
    alpha = runner.model.backbone.arch_parameters['cell']
    alpha.data[:] = torch.tensor([2.0, 0.0, 0.0, 1.0, 0.0])
    next(hook for hook in runner.hooks if isinstance(hook, GenotypeHook)).before_train(runner)
    assert Facts.of(runner).genotype.to_string().startswith(found)


# Bases


def test_configs_may_inherit_from_the_installed_package(tmp_path):
    if not (ROOT / 'rdarts' / '.mim').exists():
        reason = 'rdarts is not installed (no rdarts/.mim): pip install -e . makes it'
        if os.environ.get('CI'):
            pytest.fail(reason)
        pytest.skip(reason)
    path = tmp_path / 'mine.py'
    path.write_text(
        "_base_ = ['rdarts::_base_/models/nas_bench_201_supernet.py', "
        "'rdarts::_base_/datasets/cifar10.py', "
        "'rdarts::_base_/schedules/search_nb201.py', "
        "'rdarts::_base_/search_nb201_runtime.py']\n"
    )
    assert load_config(path).to_dict() == plain('darts_nb201_c10')
    path.write_text("_base_ = ['rdarts::search/rdarts_nb201_c10.py']\n")
    assert load_config(path).to_dict() == plain('rdarts_nb201_c10')


@pytest.mark.slow
def test_the_examples_of_the_docs(tmp_path, monkeypatch):
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('RDARTS_DATA', raising=False)
    for name in 'abc':  # classes are counted
        Path('data/image_folder/train', name).mkdir(parents=True)
    # a cost table of one's own; test_docs.py measures one
    edges = build_space('mobilenet_like').cells['layerwise'].edges
    layers = [dict.fromkeys(edge.candidates, 1) for edge in edges]
    table = dict(space='mobilenet_like', unit='steps', costs=dict(layerwise=layers))
    Path('costs.json').write_text(json.dumps(table))
    loaded = {}
    for page in ('search.md', 'configs.md', 'methods.md'):
        text = (ROOT / 'docs' / 'en' / page).read_text(encoding='utf-8')
        for name, code in re.findall(r'<!-- example: (\S+) -->\n```python\n(.*?)```', text, re.S):
            if name == 'ask.py':  # a script, which test_docs.py runs
                continue
            Path(name).write_text(code)
            loaded[name] = load_config(name)
    mine, images, cutout = (
        loaded[name] for name in ('my_rdarts.py', 'my_images.py', 'rdarts_s1_c10_cutout.py')
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        architect = HOOKS.build(mine.default_hooks.architect)
        network = MODELS.build(images.model)
    factor = architect.architect.regularizers['ber'].lambda_
    assert [factor.at(e) for e in (0, 10, 25, 40)] == [0, 0.4, 1, 1]
    assert [backend.type for backend in mine.visualizer.vis_backends][1] == 'TensorboardVisBackend'
    assert network.head.fc.out_features == images.data_preprocessor.num_classes == 3
    for loader in (cutout.train_dataloader, cutout.arch_dataloader):
        steps = [step.type for step in loader.dataset.dataset.pipeline]
        assert steps == ['RandomCrop', 'RandomFlip', 'rdarts.Cutout', 'PackInputs']
    for loader in (cutout.train_dataloader, cutout.arch_dataloader):
        for step in loader.dataset.dataset.pipeline:
            TRANSFORMS.build(step)
    shorter = load_config('robust_darts_s2_c10_drop_path.py', dict(epochs=25))
    for loader in (shorter.train_dataloader, shorter.arch_dataloader):
        assert loader.dataset.dataset.pipeline[2].prob.points == [(0, 0.0), (24, 1.0)]
    assert shorter.model.backbone.mixed_op.prob.points == [(0, 0.0), (24, 0.6)]


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'configs' / 'retrain').glob('*.py')), ids=lambda path: path.stem
)
def test_retraining_configs_load(path):
    cfg = load_config(path)
    assert cfg.train_cfg.max_epochs > 0
    assert cfg.get('arch_dataloader') is None
    assert 'architect' not in cfg.default_hooks


RETRAINING = {  # epochs, batch size, learning rate, weight decay, classes, channels, depth
    'darts_c10': (600, 96, 0.025, 3e-4, 10, 36, 20),
    'darts_c100': (600, 96, 0.025, 3e-4, 100, 36, 20),
    'darts_c10_16x8': (600, 96, 0.025, 3e-4, 10, 16, 8),
    'darts_c100_16x8': (600, 96, 0.025, 3e-4, 100, 16, 8),
    'darts_imagenet': (250, 128, 0.1, 3e-5, 1000, 48, 14),
    'darts_imagenet_b1024': (250, 1024, 0.5, 3e-5, 1000, 48, 14),
    'nb201_c10': (200, 256, 0.1, 5e-4, 10, 16, 5),
    'nb201_c100': (200, 256, 0.1, 5e-4, 100, 16, 5),
    'nb201_in16': (200, 256, 0.1, 5e-4, 120, 16, 5),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', RETRAINING)
def test_numbers_of_retraining(name):
    epochs, batch, rate, decay, classes, channels, depth = RETRAINING[name]
    cfg = load_config(ROOT / 'configs' / 'retrain' / f'{name}.py')
    optimizer, backbone, head = cfg.optim_wrapper.optimizer, cfg.model.backbone, cfg.model.head
    assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (epochs, batch)
    assert (optimizer.lr, optimizer.weight_decay, optimizer.momentum) == (rate, decay, 0.9)
    assert optimizer.get('nesterov', False) is name.startswith('nb201')
    assert (head.num_classes, cfg.data_preprocessor.num_classes) == (classes, classes)
    depths = backbone.get('num_cells') or backbone.get('cells_per_stage')
    assert (backbone.channels, depths) == (channels, depth)
    steps = [step.type for step in cfg.train_dataloader.dataset.dataset.pipeline]
    assert ('rdarts.BatchCutout' in steps) is bool(re.match('darts_c1', name))
    if name.startswith('darts'):
        assert cfg.optim_wrapper.clip_grad.max_norm == 5 and head.auxiliary.weight == 0.4
        drop_path = cfg.default_hooks.get('drop_path')
        assert (drop_path is None) if 'imagenet' in name else drop_path.prob == 0.2
        smooth = head.loss.get('label_smooth_val')
        assert smooth == (0.1 if 'imagenet' in name else None)
        backbone.genotype = 'DARTS_V2'
        check_model(cfg)  # the heads take what the network gives
    split = cfg.val_dataloader.dataset.split
    assert split == ('val' if 'imagenet' in name else 'test')  # all of train is trained on


def rates_of(cfg, iterations: int) -> list[float]:
    """The learning rate of each iteration, by the real schedulers, with so many an epoch."""
    optimizer = torch.optim.SGD(
        [torch.nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr
    )
    given = cfg.param_scheduler
    args = dict(optimizer=optimizer, epoch_length=iterations)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(one), default_args=args)
        for one in (given if isinstance(given, list) else [given])
    ]
    rates = []
    for done in range(1, cfg.train_cfg.max_epochs * iterations + 1):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            if not scheduler.by_epoch or done % iterations == 0:
                scheduler.step()
    return rates


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('darts_c10', {0: 0.025, 300: 0.0125, 599: 1.7e-7}),
        ('darts_imagenet', {0: 0.1, 1: 0.097, 249: 0.1 * 0.97**249}),
        ('nb201_c10', {0: 0.1, 100: 0.05, 199: 6.2e-6}),
    ],
)
def test_the_learning_rate_of_a_retraining(name, expected):
    rates = rates_of(load_config(ROOT / 'configs' / 'retrain' / f'{name}.py'), 1)
    for epoch, rate in expected.items():
        assert rates[epoch] == pytest.approx(rate, rel=0.03), epoch


def test_the_learning_rate_of_pc_darts():
    """Linear to 0, times (e + 1) / 5 in the first five epochs."""
    cfg = load_config(ROOT / 'configs' / 'retrain' / 'darts_imagenet_b1024.py')
    expected = [0.5 * (250 - e) / 250 * min(e + 1, 5) / 5 for e in range(250)]
    assert rates_of(cfg, 1) == pytest.approx(expected, rel=1e-6)
    assert rates_of(cfg, 3)[:18] == pytest.approx(np.repeat(expected[:6], 3), rel=1e-6)


# Dry runs


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """A few images of each set, as the official batches hold them."""
    root = tmp_path_factory.mktemp('data')
    write_cifar(root / 'cifar10', 'cifar10', 8, 4)
    write_cifar(root / 'cifar100', 'cifar100', 8, 4)
    write_imagenet16(root / 'imagenet16_120', 10, 4)
    return root


@pytest.fixture
def data(folder, monkeypatch) -> Iterator[None]:
    """The small sets are found, and one thread runs: more only wait for each other here."""
    monkeypatch.setenv('RDARTS_DATA', str(folder))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def shrink(cfg):
    """Two channels, one cell a stage or three in all, batches of 4, 8 images.

    Only of the digits the execution stays open: to time both takes most of so short a run.
    """
    backbone = cfg.model.backbone
    backbone.channels = 2
    if 'cells_per_stage' in backbone:
        backbone.cells_per_stage = 1
    else:
        backbone.num_cells = 3
    cfg.model.head.in_channels //= 8
    for key in ('train', 'arch', 'val'):
        loader = cfg[f'{key}_dataloader']
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
        if loader.dataset.dataset.type == 'rdarts.Digits':
            loader.dataset.dataset.limit = 8
        else:
            backbone.execution = 'fused'
    return cfg


def is_run(name: str) -> bool:
    """Every method in every space, and every data set: others differ by numbers tested above."""
    _, space, dataset, _, short = parts(name)
    return not short and (space == 'nb201' or dataset == 'c10')


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in NAMES if is_run(name)])
def test_dry_run(name, data, capsys):
    _, space, dataset, _, _ = parts(name)
    cfg = shrink(load(name))
    result = dry_run(cfg)
    out = capsys.readouterr().out
    assert result['alphas'] == ALPHAS[space]
    assert result['parameters'] > 0 and result['macs'] > 0 and result['memory_mb'] > 0
    size = 16 if dataset == 'in16' else 32
    assert f'a (3, {size}, {size}) image' in out
    assert f'for {cfg.train_cfg.max_epochs} epochs of 1 iteration' in out
    epochs = cfg.train_cfg.max_epochs
    assert result['expected_seconds'] > epochs * result['seconds_per_iteration']


def test_schedule_epochs_may_be_an_option():
    path = ROOT / 'configs' / 'search' / 'rdarts_nb201_c10.py'
    cfg = load_config(path, {'schedule_epochs': 7})
    assert (cfg.param_scheduler.T_max, cfg.param_scheduler.end) == (7, 7)
    assert (cfg.schedule_epochs, cfg.train_cfg.max_epochs) == (7, 5)
    assert dict(cfg.param_scheduler, T_max=100, end=100) == load_config(path).param_scheduler
    cfg = load_config(path, {'schedule_epochs': 7, 'param_scheduler.T_max': 9})
    assert (cfg.param_scheduler.T_max, cfg.param_scheduler.end) == (9, 7)


@pytest.mark.parametrize(
    ('name', 'ends', 'peak', 'last'),
    [
        (
            'mobilenet_like_imagenet_8x64',
            [5, 20],
            0.1,
            0.05 * (1 + math.cos(math.pi * 149 / 150)),
        ),
        ('darts_imagenet_b1024', [5, 21], 0.5 * 16 / 20, 0.5 / 20),
    ],
)
def test_schedule_epochs_of_two_schedulers(name, ends, peak, last):
    path = ROOT / 'configs' / 'retrain' / f'{name}.py'
    cfg = load_config(path, {'schedule_epochs': 20, 'train_cfg.max_epochs': 20})
    assert [scheduler.end for scheduler in cfg.param_scheduler] == ends
    before = load_config(path)
    assert cfg.param_scheduler[0] == before.param_scheduler[0]
    assert cfg.param_scheduler[1].get('T_max') in (None, 15)
    rates = rates_of(cfg, 10)
    assert (max(rates), rates[-1]) == pytest.approx((peak, last))
    cfg = load_config(path, {'schedule_epochs': 20, 'param_scheduler.1.end': 30})
    assert cfg.param_scheduler[1].end == 30


@pytest.mark.parametrize(
    ('name', 'option', 'message'),
    [
        ('nb201_c10', {'schedule_epochs': 0}, 'must be a positive integer, but is 0'),
        ('nb201_c10', {'schedule_epochs': 2.5}, 'must be a positive integer, but is 2.5'),
        (
            'mobilenet_like_imagenet_8x64',
            {'schedule_epochs': 5},
            '=5 leaves none after 5 of warm-u',
        ),
        ('darts_imagenet', {'schedule_epochs': 5}, "unknown key 'schedule_epochs'"),
    ],
)
def test_schedules_that_cannot_be(name, option, message):
    with pytest.raises(UserError, match=message):
        load_config(ROOT / 'configs' / 'retrain' / f'{name}.py', option)


def test_a_schedule_that_no_scheduler_follows(tmp_path):
    path = tmp_path / 'own.py'
    scheduler = dict(_delete_=True, type='ExponentialLR', gamma=0.9, by_epoch=True)
    path.write_text(
        f'_base_ = [{str(SEARCH / "rdarts_nb201_c10.py")!r}]\nparam_scheduler = {scheduler}\n'
    )
    with pytest.raises(UserError, match='no scheduler of the config ends after its 100 epochs'):
        load_config(path, {'schedule_epochs': 7})


# What a config uses while it is read

LOADERS = ('train_dataloader', 'arch_dataloader', 'val_dataloader')


@pytest.mark.parametrize(
    ('name', 'option', 'places'),
    [
        (
            'search/rdarts_mobilenet_like_imagenet',
            'warmup_epochs',
            ['default_hooks.architect.start_epoch'],
        ),
        (
            'search/rdarts_mobilenet_like_imagenet',
            'search_split.subset',
            [f'{loader}.dataset.subset' for loader in LOADERS],
        ),
        (
            'search/rdarts_nb201_c10',
            'loader.num_workers',
            [f'{loader}.num_workers' for loader in (*LOADERS, 'test_dataloader')],
        ),
        (
            'retrain/mobilenet_like_imagenet_8x64',
            'warmup_epochs',
            ['param_scheduler.0.end', 'param_scheduler.1.T_max', 'param_scheduler.1.begin'],
        ),
        (
            'retrain/mobilenet_like_imagenet',
            'train_pipeline.3.hue',
            ['train_dataloader.dataset.dataset.pipeline.3.hue'],
        ),
        (
            'search/darts_darts_c10',
            'train_set.type',
            [f'{loader}.dataset.dataset.type' for loader in LOADERS[:2]],
        ),
    ],
)
def test_options_that_would_come_too_late_are_refused(name, option, places):
    with pytest.raises(UserError) as error:
        load_config(ROOT / 'configs' / f'{name}.py', {option: 5})
    start = f"--cfg-options: '{option.split('.')[0]}' is used while the config is read, and no more"
    assert str(error.value) == f'{start} after that: set {", ".join(places)}'


def test_options_of_a_dumped_config_that_would_come_too_late(tmp_path):
    """Nothing in it is made of another entry."""
    path = tmp_path / 'config.py'
    load('darts_nb201_c10').dump(path)
    with pytest.raises(UserError, match="'search_split' is used while .* set what is made of it"):
        load_config(path, {'search_split.fraction': 0.7})
    options = {'train_dataloader.dataset.fraction': 0.7, 'schedule_epochs': 7}
    cfg = load_config(path, options)
    assert (cfg.train_dataloader.dataset.fraction, cfg.param_scheduler.end) == (0.7, 7)


# What each variant of the study in docs/notes/ber_small_search.md changes in rdarts_nb201_c10
STUDIES = dict(
    rdarts_nb201_c10_sum=dict(lambda_=4.5),
    rdarts_nb201_c10_rest2=dict(start_epoch=2),
    rdarts_nb201_c10_ramp=dict(lambda_=[0, 0.1875, 0.375, 0.5625, 0.75]),
    rdarts_nb201_c10_eq12=dict(lambda_=[-0.75, -0.75, 0.75, 0.75, 0.75]),
)
STUDIES['rdarts_nb201_c10_alr3e-3'] = dict(lr=3e-3)


def test_every_variant_of_the_study_is_one_change():
    variants = {path.stem for path in (BASE / 'variants').glob('*.py')} - {'l050', 'short'}
    assert {f'rdarts_nb201_c10_{variant}' for variant in variants} == set(STUDIES)
    printed = load('rdarts_nb201_c10').to_dict()
    for name, change in STUDIES.items():
        cfg = load(name).to_dict()
        lambdas, rest, lr = change.get('lambda_', 0.75), change.get('start_epoch', 0), 3e-4
        architect = HOOKS.build(cfg['default_hooks'].pop('architect'))
        factor = architect.architect.regularizers['ber'].lambda_
        if not isinstance(lambdas, list):
            lambdas = [lambdas] * 5
        assert [factor.at(epoch) for epoch in range(5)] == lambdas
        assert architect.times.start_epoch == rest
        assert cfg['arch_optimizer'].pop('lr') == change.get('lr', lr)
        expected = copy.deepcopy(printed)
        expected['default_hooks'].pop('architect')
        expected['arch_optimizer'].pop('lr')
        assert cfg == expected


# The MobileNet-like space


@pytest.mark.parametrize('name', LAYERWISE)
def test_layerwise_searches(name):
    cfg = load(name)
    backbone, architect, imagenet = (
        cfg.model.backbone,
        cfg.default_hooks.architect,
        'imagenet' in name,
    )
    assert backbone.type == 'rdarts.MobileNetLikeSupernet' and backbone.space == 'mobilenet_like'
    assert (backbone.stem_channels, backbone.first_channels, backbone.last_channels) == (
        32,
        16,
        1280,
    )
    assert (backbone.affine, backbone.stem) == (True, 'imagenet' if imagenet else 'cifar')
    if name.startswith('rdarts'):
        assert (architect.type, architect.lambda_) == ('rdarts.BERArchitectHook', 1.0)
    else:
        assert architect.type == 'rdarts.ArchitectHook'
    if not imagenet:
        assert cfg.arch_optimizer == load('darts_darts_c10').arch_optimizer
        assert cfg.optim_wrapper == load('darts_darts_c10').optim_wrapper
        assert cfg.model.head.num_classes == 10 and cfg.model.head.loss.type == 'CrossEntropyLoss'
        return
    # ProxylessNAS's: 40 epochs of the weights alone, then 120 of both
    assert (architect.start_epoch, cfg.train_cfg.max_epochs, cfg.schedule_epochs) == (40, 160, 160)
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.025, momentum=0.9, nesterov=True, weight_decay=4e-5
    )
    assert cfg.arch_optimizer == dict(type='Adam', lr=1e-3, betas=(0.0, 0.999), weight_decay=0.0)
    assert cfg.model.head.loss == dict(
        type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'
    )
    for loader in (cfg.train_dataloader, cfg.arch_dataloader):
        dataset = loader.dataset
        assert loader.batch_size == 256 and dataset.subset * dataset.fraction == pytest.approx(0.1)
        assert dataset.subset * (1 - dataset.fraction) == pytest.approx(0.025)


def test_both_retrainings_of_proxylessnas():
    folder = ROOT / 'configs' / 'retrain'
    one = load_config(folder / 'mobilenet_like_imagenet.py')
    two = load_config(folder / 'mobilenet_like_imagenet_8x64.py')
    assert one.model == two.model and one.model.backbone.norm_eps == 1e-3
    assert one.optim_wrapper == dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.05, momentum=0.9, nesterov=True, weight_decay=4e-5),
        paramwise_cfg=dict(norm_decay_mult=0.0),
    )
    # plain momentum, and a decay of batch norms too
    assert two.optim_wrapper == dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-5),
    )
    for cfg, batch in ((one, 256), (two, 64)):
        assert cfg.train_dataloader.batch_size == batch and cfg.train_cfg.max_epochs == 300
        *_, jitter, last = cfg.train_dataloader.dataset.dataset.pipeline
        factors = dict.fromkeys(('brightness', 'contrast', 'saturation'), 0.4)
        assert jitter == dict(type='ColorJitter', hue=0.1, **factors)
        assert last.type == 'PackInputs'
    darts = load_config(folder / 'darts_imagenet.py').train_dataloader.dataset.dataset.pipeline
    assert darts[3].hue == 0.2


def test_the_learning_rates_of_both_retrainings_of_proxylessnas():
    folder = ROOT / 'configs' / 'retrain'
    one = rates_of(load_config(folder / 'mobilenet_like_imagenet.py'), 1)
    expected = [0.025 * (1 + math.cos(math.pi * e / 300)) for e in range(300)]
    assert one == pytest.approx(expected, rel=1e-6)
    size = 40  # iterations an epoch
    two = rates_of(load_config(folder / 'mobilenet_like_imagenet_8x64.py'), size)
    # by iteration from one worker's rate to that of eight, over five epochs
    warmup = 5 * size
    expected = [0.0125 * (1 + 7 * t / (warmup - 1)) for t in range(warmup)]
    # its code, which is a step ahead: lr / 8 (7 e / 5 + 1) with e = (t + 1) / size
    theirs = [0.1 / 8 * (7 * (t + 1) / size / 5 + 1) for t in range(warmup)]
    assert expected == pytest.approx(theirs, abs=0.0875 / warmup)
    rest = 295 * size
    expected += [0.05 * (1 + math.cos(math.pi * t / rest)) for t in range(rest)]
    assert two == pytest.approx(expected, rel=1e-6)
    assert (two[0], two[warmup - 1], two[warmup]) == pytest.approx((0.0125, 0.1, 0.1))
