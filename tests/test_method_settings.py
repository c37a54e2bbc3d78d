"""The settings of the methods' configs, against what is published for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from golden import assert_close, double, golden
from helpers import configs_of_run, methods_of
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIMIZERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from torch import nn

from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config, phases_of
from rdarts.models import AlphaOwner
from rdarts.registry import HOOKS, REGULARIZERS, RELAXATIONS, build
from rdarts.search_spaces import build_space

SEARCH = configs_folder() / 'search'


def config(name: str) -> Config:
    return load_config(SEARCH / f'{name}.py')


def points(entry: Any) -> Iterator[list]:
    """Of all numbers of a config that change over the epochs."""
    if isinstance(entry, dict):
        if 'points' in entry:
            yield entry['points']
        for value in entry.values():
            yield from points(value)


SPACES = ('nb201_c10', 'darts_c10', 'darts_imagenet', 'mobilenet_like_imagenet')


@pytest.mark.parametrize('space', SPACES)
def test_the_anchor_of_drnas_is_the_decay_of_alpha(space):
    given, expected, tolerance = golden('drnas', 'l2_anchor')
    alpha = double(given['alpha'])
    alpha.grad = torch.zeros_like(alpha)
    optimizer = OPTIMIZERS.build(dict(config(f'drnas_{space}').arch_optimizer, params=[alpha]))
    optimizer.step()
    found = optimizer.state[alpha]['exp_avg'] / (1 - optimizer.defaults['betas'][0])
    assert_close(found, expected['extra_gradient'], tolerance)


@pytest.mark.parametrize('space', SPACES)
def test_alpha_of_fairdarts(space):
    _, expected, _ = golden('fairdarts', 'settings')
    found = config(f'fairdarts_{space}').arch_optimizer
    assert found.weight_decay == expected['alpha_wd']
    assert found.lr == expected['alpha_lr']
    assert list(found.betas) == expected['alpha_betas']


@pytest.mark.parametrize(
    ('space', 'start', 'end'), [('darts', 35, 50), ('mobilenet_like', 40, 160)]
)
@pytest.mark.parametrize('method', ['aer', 'gdas_aer', 'gdas'])
def test_what_changes_over_the_epochs_waits_for_alpha(method, space, start, end):
    cfg = config(f'{method}_{space}_imagenet')
    assert cfg.default_hooks.architect.start_epoch == start
    if 'gdas' in method:
        temperature = cfg.model.backbone.relaxation.temperature
        assert temperature.points == [(start, 10.0), (end - 1, 0.1)]
    if 'aer' in method:
        factor = build(cfg.default_hooks.architect.regularizers.aer, REGULARIZERS).lambda_
        found = [factor.at(epoch) for epoch in (0, start, (start + end) / 2, end)]
        torch.testing.assert_close(found, [-0.2, -0.2, 0.0, 0.2])


@pytest.mark.parametrize(
    ('method', 'epochs', 'lr'),
    [('aer', 50, 0.025), ('gdas', 250, 0.025), ('gdas_aer', 250, 0.025), ('idarts', 30, 0.01)],
)
def test_searches_in_nas_bench_201_of_autodl_and_idarts(method, epochs, lr):
    cfg = config(f'{method}_nb201_c10')
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler.T_max == epochs
    weights = cfg.optim_wrapper.optimizer
    assert (weights.lr, weights.weight_decay, weights.nesterov) == (lr, 5e-4, True)
    assert cfg.default_hooks.architect.step_order == 'weights_first'
    assert cfg.default_hooks.architect.get('order', 1) == 1


def test_the_temperature_of_snas_in_nas_bench_201():
    cfg = config('snas_nb201_c10')
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler.T_max == 100
    own = build(cfg.model.backbone.relaxation, RELAXATIONS)
    for epoch in (0, 1, 50, 99):
        own.set_progress(epoch, 100)
        assert own.numbers()['temperature'] == pytest.approx(10 - 0.09 * epoch)


def test_drnas_in_one_stage():
    _, expected, _ = golden('drnas', 'schedule')
    published = expected['nb201']
    cfg = config('drnas_nb201_c10')
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler.T_max == published['epochs']
    assert cfg.default_hooks.architect.start_epoch == published['alpha_from']
    assert published['k'] == 1 and cfg.model.backbone.mixed_op == dict(type='rdarts.MixedOp')
    published = expected['darts']
    cfg = config('drnas_darts_c10')
    assert cfg.train_cfg.max_epochs == sum(published['epochs'])
    assert cfg.train_dataloader.batch_size == published['batch']
    assert [cfg.optim_wrapper.optimizer.lr, cfg.param_scheduler.eta_min] == published['lr']
    assert cfg.arch_optimizer.lr == published['alpha_lr']
    assert cfg.default_hooks.architect.start_epoch == published['alpha_frozen_epochs'][0][1] + 1
    space = build_space(cfg.model.backbone.space)
    assert len(space.candidates) == published['ops'][0]
    # network and channels are those of DARTS, as the overlay says
    backbone = cfg.model.backbone
    assert (backbone.channels, backbone.num_cells) == (16, 8)
    assert backbone.mixed_op == dict(type='rdarts.MixedOp')


def test_the_stages_of_p_darts():
    _, expected, _ = golden('pdarts', 'stages')
    phases = phases_of(config('pdarts_darts_c10'))
    backbones = [phase.cfg.model.backbone for phase in phases]
    assert [one.num_cells for one in backbones] == expected['layers']
    assert {one.channels for one in backbones} == {16} and {one.space for one in backbones} == {
        'darts'
    }
    sizes = [len(build_space('darts').candidates), *(phase.start[0].keep for phase in phases[1:])]
    assert sizes == expected['ops_at_start']
    for phase in phases:
        cfg = phase.cfg
        assert not phase.goes_on and phase.epochs == expected['epochs_per_stage']
        assert cfg.param_scheduler.T_max == cfg.param_scheduler.end == phase.epochs
        assert (cfg.optim_wrapper.optimizer.lr, cfg.param_scheduler.eta_min) == (0.025, 0.0)
        assert cfg.train_dataloader.batch_size == cfg.arch_dataloader.batch_size == 96
        assert cfg.arch_optimizer.lr == expected['alpha_lr']
        assert list(cfg.arch_optimizer.betas) == expected['alpha_betas']
        assert cfg.arch_optimizer.weight_decay == expected['alpha_wd']
        architect = cfg.default_hooks.architect
        assert architect.start_epoch == expected['alpha_from_epoch']
        assert architect.arch_clip_grad == 5.0 and cfg.model.backbone.alpha_std == 1e-3


@pytest.mark.parametrize(
    ('space', 'cells', 'kept'),
    [
        ('s1', [5, 11, 17], [None, None]),
        ('s3', [5, 11, 17], [2, None]),
        ('nb201', [1, 3, 5], [3, 2]),
    ],
)
def test_the_stages_of_p_darts_in_other_spaces(space, cells, kept):
    phases = phases_of(config(f'pdarts_{space}_c10'))
    depth = 'cells_per_stage' if space == 'nb201' else 'num_cells'
    assert [phase.cfg.model.backbone[depth] for phase in phases] == cells
    assert [phase.start[0].keep if phase.start else None for phase in phases[1:]] == kept
    last = phases[-1].cfg.default_hooks.genotype.get('discretizer')
    assert (last is None) == (space == 'nb201')
    rates = [phase.cfg.model.backbone.mixed_op.rate for phase in phases]
    assert rates == [0.1, 0.4, 0.7]


@pytest.mark.parametrize('data', ['c10', 'imagenet'])
def test_fairdarts_in_the_layerwise_space_trains_weights_as_the_config_below(data):
    found, below = (config(f'{method}_mobilenet_like_{data}') for method in ('fairdarts', 'darts'))
    assert found.optim_wrapper == below.optim_wrapper
    assert found.param_scheduler == below.param_scheduler
    for loader in ('train_dataloader', 'arch_dataloader'):
        assert found[loader] == below[loader]


def test_fairdarts_on_cifar():
    _, expected, _ = golden('fairdarts', 'settings')
    cfg = config('fairdarts_darts_c10')
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler.T_max == expected['epochs']
    assert cfg.train_dataloader.batch_size == cfg.arch_dataloader.batch_size == expected['batch']
    assert [cfg.optim_wrapper.optimizer.lr, cfg.param_scheduler.eta_min] == expected['w_lr']
    term = cfg.default_hooks.architect.regularizers.zero_one
    assert term.lambda_ == expected['aux_loss_weight']
    assert cfg.arch_dataloader.dataset.part == 'alpha'  # of two levels


@pytest.mark.parametrize('method', sorted({*methods_of('nb201')} - {'nasi', 'nasi_ada'}))
def test_a_search_on_digits_is_as_short_as_the_config_below(method):
    runs = configs_of_run(config(f'{method}_nb201_digits'))
    lengths = [one.train_cfg.max_epochs for one in runs]
    assert sum(lengths) == config('darts_nb201_digits').train_cfg.max_epochs == 10
    for one, length in zip(runs, lengths, strict=True):
        assert all(item[-1][0] in (length - 1, length) for item in points(one.to_dict()))


def test_alpha_of_lambda_darts_moves_on_digits_as_that_of_the_config_below():
    rates = [config(f'{m}_nb201_digits').arch_optimizer.lr for m in ('lambda_darts', 'darts')]
    assert rates == [3e-3, 3e-3]


def test_when_alpha_of_pc_darts_moves_and_how_fast_the_weights_learn():
    given, expected, tolerance = golden('pc_darts', 'schedule')
    cfg = config('pc_darts_darts_c10')
    times = HOOKS.build(cfg.default_hooks.architect).times
    moves = {str(epoch): times.due(epoch, 0, 97, 0) for epoch in given['epochs']}
    assert moves == expected['alpha_updates']
    weight = nn.Parameter(torch.zeros(1))
    optimizer = OPTIMIZERS.build(dict(cfg.optim_wrapper.optimizer, params=[weight]))
    scheduler = dict(cfg.param_scheduler, optimizer=optimizer)
    scheduler = MMENGINE_PARAM_SCHEDULERS.build(scheduler)
    rates = []
    for _ in range(cfg.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    for epoch, rate in expected['lr_closed_form'].items():
        assert abs(rates[int(epoch)] - rate) < tolerance


def test_the_clip_of_the_weights_of_beta_darts_is_without_alpha():
    """The published one has alpha's gradient in its norm, which the overlay says."""
    given, expected, tolerance = golden('beta_darts', 'w_step_clip_covers_alpha')
    cfg = config('beta_darts_nb201_c10')
    assert cfg.optim_wrapper.clip_grad.max_norm == given['max_norm']
    owner = AlphaOwner(cfg.model.backbone.space).double()
    owner.weight = nn.Parameter(double([0.0, 0.0]))
    alpha = owner.arch_parameters['cell']
    direction = torch.ones_like(alpha)
    alpha.grad = direction * given['alpha_grad_norm'] / direction.norm()
    owner.weight.grad = double([0.6, 0.8]) * given['weight_grad_norm']
    both = torch.stack([owner.weight.grad.norm(), alpha.grad.norm()]).norm()
    assert_close(both, expected['total_norm'], tolerance)
    wrapper = build_optim_wrapper(owner, cfg.optim_wrapper)
    wrapper.step()
    found = owner.weight.grad.norm() / given['weight_grad_norm']
    assert_close(found, expected['scale_if_alpha_excluded'], tolerance)
    assert alpha.grad.norm().item() == pytest.approx(given['alpha_grad_norm'])


@pytest.mark.parametrize(
    ('space', 'supernet'), [('nb201_c10', 100), ('darts_c10', 50), ('s2_c10', 50)]
)
def test_the_phases_of_darts_pt(space, supernet):
    """When each decision is taken: tests/test_engine/test_selection.py."""
    _, expected, _ = golden('darts_pt', 'schedule')
    first, second = phases_of(config(f'darts_pt_{space}'))
    total = expected['nb201_total' if space == 'nb201_c10' else 'darts_total']
    assert (first.epochs, second.epochs) == (supernet, total)
    assert second.goes_on == {'weights', 'alpha'}
    found = []
    for phase in (first, second):
        parameter = nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([parameter], phase.cfg.optim_wrapper.optimizer.lr)
        given = dict(phase.cfg.param_scheduler, optimizer=optimizer)
        scheduler = MMENGINE_PARAM_SCHEDULERS.build(given)
        rates = []
        for _ in range(phase.epochs):
            rates.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            scheduler.step()
        found.append(rates)
    assert found[1][0] == pytest.approx(found[0][0] / 10, rel=1e-12)
    assert found[1][-1] == pytest.approx(0.0025 if space == 'nb201_c10' else 0.001, rel=1e-3)
