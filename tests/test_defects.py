"""Defects of published search codes, each with a test that ours has it not."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from helpers import TOOLS, digits_config, digits_runner, write_cifar
from mmengine.hooks import Hook
from test_architect.tiny_search import (
    SGD,
    architect_of,
    make_batch,
    make_model,
    make_runner,
    prepare,
    unrolled_reference,
)

from rdarts.architect.architects.first_order import first_order
from rdarts.architect.architects.unrolled import unrolled
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.load import load_config
from rdarts.datasets import Digits, SearchSplit
from rdarts.engine.facts import Facts
from rdarts.errors import UserError
from rdarts.hooks.architect_hook import ArchitectHook
from rdarts.models import DARTSSupernet, NASBench201Net, NASBench201Supernet
from rdarts.registry import DATASETS

TRAIN, VAL = make_batch(1), make_batch(2)


def unroll(model, optimizer, hessian):
    alphas, weights = model.split()
    return unrolled(
        lambda: model(**TRAIN)['loss'],
        lambda: model(**VAL)['loss'],
        alphas,
        weights,
        optimizer,
        list(model.buffers()),
        hessian,
    )[0]


@pytest.mark.parametrize('hessian', ['finite_difference', 'autograd'])
def test_a_virtual_step_moves_the_weights_of_the_network_itself(hessian):
    # the defect: `w = w - lr * g` rebinds a local name, and L_val is taken where L_train was
    model = make_model()
    optimizer = torch.optim.SGD(model.split()[1], lr=0.5)
    start = [w.detach().clone() for w in model.split()[1]]
    grads = torch.autograd.grad(model.loss(**TRAIN), model.split()[1])
    model.seen.clear()
    unroll(model, optimizer, hessian)
    (at_val,) = [seen for seen in model.seen if torch.equal(seen['inputs'], VAL['inputs'])]
    for w, g, moved in zip(start, grads, at_val['values'], strict=True):
        torch.testing.assert_close(moved, w - 0.5 * g, rtol=1e-13, atol=1e-15)
        assert not torch.equal(moved, w) or not g.any()
    for seen in model.seen:
        if hessian == 'finite_difference' and seen['alphas'] == {True} and seen is not at_val:
            assert not all(map(torch.equal, seen['values'], start))


@pytest.mark.parametrize('hessian', ['finite_difference', 'autograd'])
def test_the_two_sides_of_a_finite_difference_are_two_tensors(hessian):
    # the defect: both are one accumulated `.grad`, and plus minus minus is 0
    model = make_model()
    optimizer = torch.optim.SGD(model.split()[1], lr=0.5)
    second = torch.cat([g.flatten() for g in unroll(model, optimizer, hessian)])
    expected = torch.cat([g.flatten() for g in unrolled_reference(model, optimizer, TRAIN, VAL)])

    moved = copy.deepcopy(model)
    weights = moved.split()[1]
    grads = torch.autograd.grad(moved.loss(**TRAIN), weights)
    with torch.no_grad():
        for w, g in zip(weights, grads, strict=True):
            w -= 0.5 * g
    direct = first_order(lambda: moved.loss(**VAL), *moved.split())[0]
    direct = torch.cat([g.flatten() for g in direct])
    # the difference's term is what is left of the true gradient without the direct one
    term = expected - direct
    assert float(term.norm()) > 0.01 * float(expected.norm())
    assert float((second - direct - term).norm()) < 0.01 * float(term.norm())


def test_clipping_the_weights_does_not_clip_alpha(tmp_path):
    # the defect: clip_grad_norm_(model.parameters()) counts and scales alpha's gradient too
    paths = []
    for name, wrapper in (('open', None), ('clipped', dict(clip_grad=dict(max_norm=1e-8)))):
        runner = make_runner(
            tmp_path / name, optimizer=dict(SGD, lr=0.0, weight_decay=0.0), wrapper=wrapper
        )
        start = [alpha.clone() for alpha in runner.model.split()[0]]
        runner.train()
        paths.append(runner.model.split()[0])
        assert not torch.equal(start[0], paths[-1][0])
    assert all(map(torch.equal, *paths))


@pytest.mark.slow
def test_the_weight_optimizer_does_not_train_alpha(tmp_path):
    # the defect: alpha is among model.parameters(), and decays and moves with the weights
    runner = digits_runner(
        tmp_path,
        {
            'default_hooks.architect.start_epoch': 1,
            'optim_wrapper.optimizer.weight_decay': 0.5,
            'train_cfg.max_epochs': 2,
        },
    )
    alpha = runner.model.backbone.arch_parameters['cell']
    start = alpha.clone()
    weights = runner.model.backbone.stem[0].weight.detach().clone()

    class StaleGradient(Hook):
        priority = 'LOWEST'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            alpha.grad = torch.ones_like(alpha)

    runner.register_hook(StaleGradient())
    next(h for h in runner.hooks if isinstance(h, ArchitectHook)).times.start_epoch = 2
    runner.train()
    assert torch.equal(alpha, start)
    assert not torch.equal(runner.model.backbone.stem[0].weight, weights)
    groups = runner.optim_wrapper.optimizer.param_groups
    held = {id(p) for group in groups for p in group['params']}
    others = {id(p) for p in runner.model.parameters()} - {id(alpha)}
    assert held == others


def images_of(dataset):
    return {image.tobytes() for image in dataset.arrays.images}


def test_neither_loader_ever_yields_a_test_image(tmp_path):
    # the defect: alpha is trained on the images that the result is then reported on
    cfg = digits_config(tmp_path)
    for name in ('train', 'arch', 'val'):
        loader = cfg[f'{name}_dataloader']
        loader.batch_size = 64
        loader.dataset.dataset.limit = None
        loader.dataset.dataset.pipeline = cfg.test_pipeline  # so that bytes can be compared
    runner = digits_runner(
        tmp_path, **{f'{n}_dataloader': cfg[f'{n}_dataloader'] for n in ('train', 'arch', 'val')}
    )
    architect = prepare(runner)
    pixels = {}
    for name, loader in dict(weights=runner.train_dataloader, alpha=architect.loader).items():
        found = pixels[name] = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            for batch in loader:
                found += [x.permute(1, 2, 0).numpy().tobytes() for x in batch['inputs']]
    # 1,438 images, half each, in whole batches of 64
    assert [len(found) for found in pixels.values()] == [1408, 1408]
    assert len(set(pixels['alpha'])) > 704
    test, train = images_of(Digits(split='test')), images_of(Digits(split='train'))
    assert len(test) == 359 and not test & train
    for name, found in pixels.items():
        assert set(found) <= train and not set(found) & test, name
    assert not set(pixels['weights']) & set(pixels['alpha'])


@pytest.mark.parametrize('name', ['cifar10', 'cifar100'])
def test_the_cifar_configs_give_alpha_training_images(tmp_path, monkeypatch, name):
    written = write_cifar(tmp_path / name, name, n_train=400, n_test=100)
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path))
    short = name.replace('cifar', 'c')
    cfg = load_config(TOOLS.parent / 'configs' / 'search' / f'darts_nb201_{short}.py')
    parts = {}
    for part in ('train', 'arch'):
        dataset = DATASETS.build(cfg[f'{part}_dataloader'].dataset)
        images = [dataset.get_data_info(i)['img'] for i in range(len(dataset))]
        parts[part] = {np.ascontiguousarray(image).tobytes() for image in images}
    train, test = ({image.tobytes() for image in written[s][0]} for s in ('train', 'test'))
    assert len(parts['train']) == len(parts['arch']) == 200
    assert parts['train'] | parts['arch'] == train and not parts['train'] & parts['arch']
    assert not (parts['train'] | parts['arch']) & test


def test_a_search_split_of_test_images_is_refused():
    with pytest.raises(UserError, match="made of training images, but Digits is split 'test'"):
        SearchSplit(dict(type='rdarts.Digits', split='test'), part='alpha')


def test_every_rank_has_the_first_ones_alpha_and_the_first_one_writes(tmp_path, monkeypatch):
    # the defect: each rank draws, and derives from, an alpha of its own
    first = digits_runner(tmp_path / 'first')
    prepare(first)
    alpha = first.model.backbone.arch_parameters['cell']
    with torch.no_grad():
        alpha.copy_(torch.eye(6, 5))

    second = digits_runner(tmp_path / 'second', {'randomness.seed': 1})
    own = second.model.backbone.arch_parameters['cell'].clone()
    assert not torch.equal(own, alpha)
    calls = []

    def broadcast(tensor, src=0):
        calls.append(src)
        tensor.copy_(alpha)

    monkeypatch.setattr('rdarts.architect.architect.broadcast', broadcast)
    for module in ('genotype', 'search_log', 'record'):
        monkeypatch.setattr(f'rdarts.hooks.{module}.is_main_process', lambda: False)
    prepare(second)
    assert calls == [0]
    assert torch.equal(second.model.backbone.arch_parameters['cell'], alpha)
    end_of_search(second)
    names = {path.name for path in (tmp_path / 'second').iterdir() if path.is_file()}
    assert not names & {'genotype.json', 'search_log.jsonl', 'split.json'}
    assert not (tmp_path / 'second' / 'genotypes').exists()
    monkeypatch.undo()
    end_of_search(first)
    assert (tmp_path / 'first' / 'genotype.json').exists()
    assert Facts.of(first).genotype == Facts.of(second).genotype


def end_of_search(runner):
    for name in ('after_train_epoch', 'after_train'):
        for hook in runner.hooks:
            if type(hook).__module__.startswith('rdarts.hooks'):
                getattr(hook, name)(runner)


@pytest.mark.slow
def test_a_resumed_search_keeps_alpha_and_its_optimizer(tmp_path):
    # the defect: resume draws alpha anew, or starts Adam's moments and step count at zero
    options = {'train_cfg.max_epochs': 2}
    whole = digits_runner(tmp_path / 'whole', options)
    whole.train()
    half = tmp_path / 'half'
    runner = digits_runner(half, options, hooks=[StopAfter(2)])
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    (path,) = half.glob('*.pth')
    saved = read_checkpoint(path)
    assert saved['arch']['steps'] == 2

    resumed = digits_runner(half, options, resume=True)
    resumed.load_or_resume = spy_on(resumed.load_or_resume, resumed, loaded := {})
    resumed.train()
    assert torch.equal(loaded['alpha'], saved['state_dict']['backbone.arch_parameters.cell'])

    def state(runner):
        architect = architect_of(runner)
        (alpha,) = architect.alphas
        return alpha, architect.optimizer.state[alpha], architect.steps

    (a, ours, steps), (b, theirs, _) = state(whole), state(resumed)
    assert torch.equal(a, b)
    assert steps == state(resumed)[2] == 4 and float(ours['step']) == float(theirs['step']) == 4
    for key in ('exp_avg', 'exp_avg_sq'):
        assert torch.equal(ours[key], theirs[key]) and ours[key].abs().sum() > 0
    names = ('genotype.json', 'genotypes/epoch_1.json', 'genotypes/epoch_2.json')
    for name in names:
        assert (tmp_path / 'whole' / name).read_bytes() == (half / name).read_bytes()


class StopAfter(Hook):
    priority = 'LOWEST'

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


def spy_on(load, runner, found):
    """Note alpha right after a checkpoint was loaded."""

    def wrapped():
        load()
        found['alpha'] = runner.model.backbone.arch_parameters['cell'].clone()

    return wrapped


@pytest.mark.parametrize('kind', ['nas_bench_201 supernet', 'darts supernet', 'nas_bench_201 net'])
def test_evaluation_has_no_drop_path_and_no_auxiliary_weight(kind):
    # the defect: both stay on, so that accuracy is random or the loss is not the classifier's
    torch.manual_seed(0)
    if kind == 'nas_bench_201 supernet':
        net = NASBench201Supernet(channels=4, cells_per_stage=1)
    elif kind == 'darts supernet':
        net = DARTSSupernet(channels=4, num_cells=3)
    else:
        genotype = '|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|' \
                   '+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|'  # fmt: skip
        net = NASBench201Net(genotype, channels=4, cells_per_stage=1)
    images = torch.randn(4, 3, 16, 16)
    net.train()(images)
    net.eval()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    generator = torch.get_rng_state()
    with torch.no_grad():
        whole = net(images)
        again = net(images)
        single = [net(image[None]) for image in images]
    assert len(whole) == 1
    assert torch.equal(whole[0], again[0])
    assert torch.equal(torch.get_rng_state(), generator)
    torch.testing.assert_close(
        torch.cat([out[0] for out in single]), whole[0], rtol=1e-4, atol=1e-5
    )
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    if hasattr(net, 'phase'):
        assert net.phase == 'eval'
