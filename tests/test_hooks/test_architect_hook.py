"""The architect in a real runner: alpha's step, its optimizer, its state and its invariants."""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Callable

import pytest
import torch
from helpers import TOOLS, digits_config, digits_runner, log_text
from mmengine.config import Config
from mmengine.hooks import Hook
from test_architect.tiny_search import (
    ADAM,
    SGD,
    architect_of,
    hook_of,
    make_batch,
    make_loader,
    make_model,
    make_runner,
    prepare,
    unrolled_reference,
)

from rdarts.architect.gradients import average
from rdarts.architect.regularizers import BatchEntropyDecay, Regularizer
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.check import check_config
from rdarts.configuration.load import set_amp
from rdarts.engine import SearchOptimWrapperConstructor
from rdarts.engine.facts import Facts
from rdarts.errors import RunFailed, UserError
from rdarts.hooks.architect_hook import ArchitectHook, BERArchitectHook
from rdarts.registry import HOOKS

TRAIN, VAL = make_batch(1), make_batch(2)
BER = dict(type='rdarts.BatchEntropyDecay', lambda_=0)


def rows(work_dir, kind='iter'):
    lines = (work_dir / 'search_log.jsonl').read_text().splitlines()
    return [row for row in map(json.loads, lines) if row['kind'] == kind]


def alphas_of(runner):
    return [alpha.detach().clone() for alpha in runner.model.split()[0]]


class Watch(Hook):
    """Notes every real step of the two optimizers, and alpha around each iteration."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.events, self.alphas, self.grads, self.open = [], [], [], []

    def before_train(self, runner):
        architect = architect_of(runner)

        def note(name):
            return lambda optimizer, *_: self.events.append((runner.epoch, name))

        architect.optimizer.register_step_post_hook(note('alpha'))
        runner.optim_wrapper.optimizer.register_step_post_hook(note('weights'))
        architect.optimizer.register_step_pre_hook(
            lambda *_: self.grads.append([a.grad.clone() for a in architect.alphas])
        )
        self.alphas.append(alphas_of(runner))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.check(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.check(runner)
        self.alphas.append(alphas_of(runner))

    def check(self, runner):
        for alpha in runner.model.split()[0]:
            self.open.append(alpha.requires_grad or alpha.grad is not None)


# The gradient


def test_order_1_is_the_gradient_of_the_validation_loss(tmp_path):
    runner = make_runner(tmp_path)
    architect = prepare(runner)
    twin = copy.deepcopy(runner.model)
    grads, loss, scale = architect.loss_gradient(TRAIN, VAL)
    value = twin.loss(**VAL)
    value_alphas = [alpha.requires_grad_() for alpha in twin.split()[0]]
    value = twin.loss(**VAL)
    for found, expected in zip(grads, torch.autograd.grad(value, value_alphas), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)
    assert float(loss) == pytest.approx(float(value.detach()), rel=1e-14) and scale == 1.0


@pytest.mark.parametrize('steps', [0, 3])
@pytest.mark.parametrize(
    ('hessian', 'tolerance'), [('autograd', 1e-10), ('finite_difference', 1e-3)]
)
def test_order_2_is_autograd_through_the_weight_optimizers_own_step(
    tmp_path, hessian, tolerance, steps
):
    runner = make_runner(
        tmp_path,
        order=2,
        hessian=hessian,
        optimizer=dict(SGD, nesterov=True),
        wrapper=dict(paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=0.1, decay_mult=0.0)})),
    )
    if steps:
        runner.train()
        architect = architect_of(runner)
    else:
        architect = prepare(runner)
    optimizer = runner.optim_wrapper.optimizer
    assert len({(g['lr'], g['weight_decay']) for g in optimizer.param_groups}) == 2
    state = {key: value.clone() for key, value in runner.model.state_dict().items()}
    batch = copy.deepcopy(TRAIN)
    grads, _, _ = architect.loss_gradient(batch, VAL)
    expected = unrolled_reference(runner.model, optimizer, TRAIN, VAL)
    found, wanted = (torch.cat([g.flatten() for g in x]) for x in (grads, expected))
    assert float((found - wanted).norm()) < tolerance * float(wanted.norm())
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert all(torch.equal(batch[key], TRAIN[key]) for key in batch)


@pytest.mark.slow
@pytest.mark.parametrize('hessian', ['finite_difference', 'autograd'])
def test_order_2_trains_the_images_of_the_digits_search(tmp_path, hessian):
    options = {'default_hooks.architect.order': 2, 'default_hooks.architect.hessian': hessian,
               'default_hooks.search_log.interval': 1}  # fmt: skip
    runner = digits_runner(tmp_path / 'second', options)
    runner.train()
    first = digits_runner(tmp_path / 'first', {'default_hooks.search_log.interval': 1})
    first.train()
    second_norm, first_norm = (
        rows(tmp_path / name)[-1]['arch_grad_norm']['cell'] for name in ('second', 'first')
    )
    assert second_norm > 0 and second_norm != first_norm
    # L_val is that of the moved weights
    losses = [rows(tmp_path / name)[0]['arch_loss'] for name in ('second', 'first')]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], abs=0.5)


def test_order_2_unrolls_sgd_only(tmp_path):
    runner = make_runner(tmp_path, order=2, optimizer=dict(type='Adam', lr=1e-3))
    with pytest.raises(UserError, match='the weight optimizer is Adam: use SGD, or order=1'):
        runner.train()


def test_the_gradient_is_the_mean_over_ranks(monkeypatch):
    grads = [torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]])]
    assert average(grads) is grads
    other = torch.tensor([10.0, 20.0, 30.0, 40.0])

    def all_reduce(flat, op):
        assert op == 'mean'
        flat.copy_((flat + other) / 2)

    monkeypatch.setattr('rdarts.architect.gradients.get_dist_info', lambda: (0, 2))
    monkeypatch.setattr('rdarts.architect.gradients.all_reduce', all_reduce)
    first, second = average(grads)
    assert torch.equal(first, torch.tensor([[5.5, 11.0]]))
    assert torch.equal(second, torch.tensor([[16.5], [22.0]]))


# The step


@pytest.mark.parametrize(
    ('step_order', 'expected'),
    [('alpha_first', ['alpha', 'weights'] * 3), ('weights_first', ['weights', 'alpha'] * 3)],
)
def test_the_order_of_the_two_steps(tmp_path, step_order, expected):
    watch = Watch()
    make_runner(tmp_path, step_order=step_order, hooks=(watch,)).train()
    assert [name for _, name in watch.events] == expected


def test_a_search_in_which_alpha_never_moves_is_told_so(tmp_path):
    line = 'alpha moves in no iteration of this search, whose genotype says nothing: '
    for folder, options, why in (
        ('every', dict(every=4, epochs=2), 'every is 4, but an epoch has 3 iterations'),
        ('rests', dict(start_epoch=1), 'start_epoch is 1 of 1 epoch'),
        ('moves', dict(start_epoch=1, every=3, epochs=2), None),
    ):
        prepare(make_runner(tmp_path / folder, **options))
        text = log_text(tmp_path / folder)
        assert text.count(line) == (why is not None)
        assert why is None or f'WARNING - {line}{why}\n' in text


@pytest.mark.parametrize('step_order', ['alpha_first', 'weights_first'])
def test_alpha_waits_for_its_first_epoch(tmp_path, step_order):
    watch = Watch()
    runner = make_runner(
        tmp_path, step_order=step_order, start_epoch=2, epochs=3, batches=2, hooks=(watch,)
    )
    runner.train()
    assert [epoch for epoch, name in watch.events if name == 'alpha'] == [2, 2]
    assert [epoch for epoch, name in watch.events if name == 'weights'] == [0, 0, 1, 1, 2, 2]
    start, *later = watch.alphas
    still = [all(map(torch.equal, start, alphas)) for alphas in later]
    assert still == [True] * 4 + [False] * 2
    assert 'arch_loss' not in rows(tmp_path)[3] and 'arch_loss' in rows(tmp_path)[4]
    # its data begin at the first step
    assert architect_of(runner).steps == 2


def test_alpha_follows_adam_with_the_settings_of_the_config(tmp_path):
    watch = Watch()
    make_runner(tmp_path, hooks=(watch,), batches=4).train()
    lr, (b1, b2), decay = ADAM['lr'], ADAM['betas'], ADAM['weight_decay']
    for k in range(3):
        m = v = 0.0
        for t, grads in enumerate(watch.grads, 1):
            start, end = watch.alphas[t - 1][k], watch.alphas[t][k]
            g = grads[k] + decay * start
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            step = lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + 1e-8)
            torch.testing.assert_close(end, start - step, rtol=1e-12, atol=1e-14)
    assert len(watch.grads) == 4


def test_the_configs_numbers_reach_alphas_optimizer(tmp_path):
    runner = digits_runner(tmp_path)
    architect = prepare(runner)
    (group,) = architect.optimizer.param_groups
    assert type(architect.optimizer) is torch.optim.Adam
    # the digits' search alone has ten times the rate of the schedules it is built on
    assert (group['lr'], group['betas'], group['weight_decay']) == (3e-3, (0.5, 0.999), 1e-3)
    for name in ('search_nb201', 'search_d0'):
        schedule = Config.fromfile(TOOLS.parent / 'configs' / '_base_' / 'schedules' / f'{name}.py')
        assert dict(schedule.arch_optimizer) == ADAM
    assert group['params'] == list(architect.owner.arch_parameters.values())
    (weights,) = runner.optim_wrapper.optimizer.param_groups
    assert (weights['lr'], weights['momentum'], weights['weight_decay']) == (0.025, 0.9, 3e-4)
    assert architect.regularizers['ber'].lambda_.at(0) == 0.75


def test_a_scheduler_of_alphas_learning_rate(tmp_path, recwarn):
    rates = []

    class Rates(Hook):
        def before_train_epoch(self, runner):
            rates.append(architect_of(runner).optimizer.param_groups[0]['lr'])

    schedule = [dict(type='MultiStepLR', milestones=[1, 3], gamma=0.1)]
    make_runner(
        tmp_path, arch_param_scheduler=schedule, epochs=5, batches=1, hooks=(Rates(),)
    ).train()
    assert rates == pytest.approx([3e-4, 3e-5, 3e-5, 3e-6, 3e-6])
    assert not [w for w in recwarn if 'lr_scheduler' in str(w.message)]


def test_lambda_is_that_of_the_epoch(tmp_path):
    schedule = dict(points=[(0, 1.0), (2, 3.0)])
    make_runner(tmp_path, BERArchitectHook, lambda_=schedule, epochs=4, batches=1).train()
    used = [row['regularizers']['ber']['lambda_'] for row in rows(tmp_path)]
    assert used == [1.0, 2.0, 3.0, 3.0]


def test_a_signed_lambda_takes_the_gradient_of_entropy_the_other_way(tmp_path):
    gradients = {}
    for value in (0.5, -0.5):
        watch = Watch()
        runner = make_runner(
            tmp_path, BERArchitectHook, lambda_=value, signed=True, batches=1, hooks=(watch,)
        )
        runner.train()
        gradients[value] = watch.grads[0]
    plain = Watch()
    make_runner(tmp_path, ArchitectHook, batches=1, hooks=(plain,)).train()
    assert any(not torch.equal(a, b) for a, b in zip(*gradients.values(), strict=True))
    for up, down, middle in zip(gradients[0.5], gradients[-0.5], plain.grads[0], strict=True):
        torch.testing.assert_close((up + down) / 2, middle, rtol=1e-10, atol=1e-12)


def test_the_step_is_taken_along_the_sum_of_both_gradients(tmp_path):
    watch = Watch()
    runner = make_runner(tmp_path, BERArchitectHook, lambda_=0.75, batches=1, hooks=(watch,))
    alphas = alphas_of(runner)
    twin = copy.deepcopy(runner.model)
    runner.train()
    # the one batch of the architect's own loader, at the weights before their step
    for alpha in twin.split()[0]:
        alpha.requires_grad_()
    loss = torch.autograd.grad(twin.loss(**make_batch(100)), twin.split()[0])
    for alpha, own, found in zip(alphas, loss, watch.grads[0], strict=True):
        beta = alpha.softmax(-1)
        h = -(beta * beta.log()).sum(-1, keepdim=True)
        ber = -beta * (beta.log() + h) / 4
        torch.testing.assert_close(found, own + 0.75 * ber, rtol=1e-12, atol=1e-14)


# What is logged


class Square(Regularizer):
    """R = sum of squares of all alphas, whose gradient is 2 alpha."""

    def __call__(self, arch_parameters, space):
        return sum((alpha**2).sum() for alpha in arch_parameters.values())


def test_logged_norms_and_cosines_are_those_of_each_cell_type(tmp_path):
    runner = make_runner(
        tmp_path, BERArchitectHook, lambda_=0.75, regularizers=dict(square=Square(0.1)), batches=1
    )
    alphas = dict(runner.model.backbone.arch_parameters.items())
    alphas = {name: alpha.detach().clone() for name, alpha in alphas.items()}
    twin = copy.deepcopy(runner.model)
    runner.train()
    (row,) = rows(tmp_path)

    trainable = {name: a.requires_grad_() for name, a in twin.backbone.arch_parameters.items()}
    loss = twin.loss(**make_batch(100))
    grads = dict(zip(trainable, torch.autograd.grad(loss, list(trainable.values())), strict=True))
    assert row['arch_loss'] == pytest.approx(float(loss.detach()), rel=1e-12)
    betas = {name: alpha.softmax(-1) for name, alpha in alphas.items()}
    entropies = {name: -(b * b.log()).sum(-1, keepdim=True) for name, b in betas.items()}
    ber = {name: -b * (b.log() + entropies[name]) / 4 for name, b in betas.items()}
    for cell, groups in dict(zeta=['zeta_0', 'zeta_1'], beta=['beta']).items():
        g = [x for name in groups for x in grads[name].flatten().tolist()]
        r = [0.75 * x for name in groups for x in ber[name].flatten().tolist()]
        s = [0.1 * 2 * x for name in groups for x in alphas[name].flatten().tolist()]
        total = [a + b + c for a, b, c in zip(g, r, s, strict=True)]

        def norm(u):
            return math.sqrt(sum(x * x for x in u))

        def cosine(u, v):
            return sum(x * y for x, y in zip(u, v, strict=True)) / (norm(u) * norm(v))

        assert row['arch_grad_norm'][cell] == pytest.approx(norm(g), rel=1e-10)
        assert row['arch_cosine_total'][cell] == pytest.approx(cosine(g, total), rel=1e-10)
        for name, gradient in (('ber', r), ('square', s)):
            entry = row['regularizers'][name]
            assert entry['grad_norm'][cell] == pytest.approx(norm(gradient), rel=1e-10)
            assert entry['cosine'][cell] == pytest.approx(cosine(g, gradient), rel=1e-10)
    mean = sum(float(h.sum()) for h in entropies.values()) / 4
    squares = sum(float((a**2).sum()) for a in alphas.values())
    assert row['regularizers']['ber']['value'] == pytest.approx(mean, rel=1e-12)
    assert row['regularizers']['square']['value'] == pytest.approx(squares, rel=1e-12)
    assert row['regularizers']['square']['lambda_'] == 0.1
    assert list(row['arch_grad_norm']) == ['zeta', 'beta']


def test_no_number_of_an_iteration_is_read_before_its_row_is_written(tmp_path):
    class Look(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            self.row = Facts.of(runner).iteration

    runner, look = make_runner(tmp_path, BERArchitectHook, lambda_=0.75, batches=1), Look()
    runner.register_hook(look)
    runner.train()
    ber = look.row['regularizers']['ber']
    for values in (look.row['arch_grad_norm'], look.row['arch_cosine_total'], ber['cosine']):
        assert all(isinstance(value, torch.Tensor) for value in values.values())
    assert isinstance(ber['value'], torch.Tensor)
    (row,) = rows(tmp_path)
    assert row['regularizers']['ber']['value'] == float(ber['value'])


def test_two_regularizers_of_one_class_are_logged_by_their_names(tmp_path):
    terms = dict(first=Square(0.1), second=Square(0.2), off=Square(0.0), none=None)
    make_runner(tmp_path, regularizers=terms, batches=1).train()
    (row,) = rows(tmp_path)
    found = {name: entry['lambda_'] for name, entry in row['regularizers'].items()}
    assert found == dict(first=0.1, second=0.2)


def test_without_a_regularizer_the_total_is_the_loss(tmp_path):
    make_runner(tmp_path, batches=2).train()
    for row in rows(tmp_path):
        assert row['arch_cosine_total'] == pytest.approx(dict(zeta=1.0, beta=1.0), abs=1e-12)
        assert 'regularizers' not in row


def test_lambda_0_moves_alpha_as_no_regularizer_does(tmp_path):
    ends = []
    for kind, options in ((ArchitectHook, {}), (BERArchitectHook, dict(lambda_=0))):
        runner = make_runner(tmp_path / kind.__name__, kind, **options)
        runner.train()
        ends.append(alphas_of(runner))
    assert all(map(torch.equal, *ends))


@pytest.mark.parametrize('kind', [ArchitectHook, BERArchitectHook])
def test_lambda_is_the_factor_of_the_regularizer_ber(kind):
    for regularizers in (None, dict(ber=BER), dict(ber=dict(BER, lambda_=0.5)), dict(ber=None)):
        hook = kind(lambda_=0.5, regularizers=regularizers)
        (name, ber), *others = hook.architect.regularizers.items()
        assert (name, type(ber), ber.lambda_.at(0)) == ('ber', BatchEntropyDecay, 0.5)
        assert not others
    kept = dict(cost=Square(0.1), ber=dict(BER, signed=True))
    hook = kind(lambda_=-0.5, regularizers=kept)
    assert list(hook.architect.regularizers) == ['ber', 'cost']
    assert hook.architect.regularizers['ber'].lambda_.at(0) == -0.5


@pytest.mark.slow
@pytest.mark.parametrize('order', [1, 2])
def test_lambda_adds_ber_to_any_method(tmp_path, order):
    ends = []
    for name in ('ArchitectHook', 'BERArchitectHook'):
        settings = dict(type=f'rdarts.{name}', lambda_=0.5, order=order)
        options = {f'default_hooks.architect.{key}': value for key, value in settings.items()}
        options['default_hooks.search_log.interval'] = 1
        runner = digits_runner(tmp_path / name, options)
        runner.train()
        ends.append(runner.model.backbone.arch_parameters['cell'].clone())
        assert rows(tmp_path / name)[0]['regularizers']['ber']['lambda_'] == 0.5
    assert torch.equal(*ends)


@pytest.mark.parametrize(
    ('options', 'line'),
    [
        (dict(lambda_=-0.5), 'lambda_ must be at least 0 unless signed=True, but is -0.5'),
        (
            {'lambda_': 0.5, 'regularizers.ber.lambda_': 0.75},
            'lambda_ is 0.5, but regularizers.ber.lambda_ is 0.75: set one of them',
        ),
        (
            dict(order=2, architect=dict(type='rdarts.Unrolled')),
            'order does not go with architect=, which names how the gradient is taken',
        ),
        (
            dict(hessian='autograd'),
            "hessian is 'autograd', which has no effect with order=1: set order=2",
        ),
        ({'regularizers.ber.lambda': 1}, "takes no 'lambda': did you mean 'lambda_'"),
        ({'regularizers.cost': dict(type='rdarts.ExpectedCosts')}, "did you mean 'ExpectedCost'"),
        (dict(regularizers=['rdarts.ExpectedCost']), 'regularizers must be a dict'),
    ],
)
def test_a_config_that_says_two_things_is_refused_in_one_line(tmp_path, options, line):
    settings = {f'default_hooks.architect.{key}': value for key, value in options.items()}
    with pytest.raises(UserError) as caught:
        check_config(digits_config(tmp_path, settings).to_dict())
    assert line in str(caught.value) and '\n' not in str(caught.value)


def test_a_config_may_add_to_alphas_loss_by_either_way(tmp_path):
    for key in ('lambda_', 'regularizers.ber.lambda_'):
        settings = {'default_hooks.architect.type': 'rdarts.ArchitectHook'}
        cfg = digits_config(tmp_path, settings)
        del cfg.default_hooks.architect['lambda_']
        cfg.merge_from_dict({f'default_hooks.architect.{key}': 0.5})
        check_config(cfg.to_dict())
        hook = HOOKS.build(cfg.default_hooks.architect)
        assert hook.architect.regularizers['ber'].lambda_.at(0) == 0.5


# Invariants


@pytest.mark.parametrize('order', [1, 2])
@pytest.mark.parametrize('step_order', ['alpha_first', 'weights_first'])
def test_alpha_is_frozen_outside_its_step_and_the_weights_within_it(tmp_path, step_order, order):
    watch = Watch()
    runner = make_runner(
        tmp_path, BERArchitectHook, lambda_=0.5, order=order, step_order=step_order, hooks=(watch,)
    )
    runner.train()
    assert len(watch.open) == 3 * 2 * 3 and not any(watch.open)
    seen = {'alpha': [], 'weights': []}
    for entry in runner.model.seen:
        assert len(entry['alphas']) == len(entry['weights']) == 1
        seen[entry['phase']].append((*entry['alphas'], *entry['weights']))
    # (alpha open, weights open)
    assert seen['weights'] == [(False, True)] * 3
    once = {
        1: [(True, False)],
        # L_train of w, L_val of both, and twice L_train of alpha
        2: [(False, True), (True, True), (True, False), (True, False)],
    }
    assert seen['alpha'] == once[order] * 3
    assert not any(p.requires_grad for p in runner.model.split()[0])
    assert all(p.requires_grad for p in runner.model.split()[1])


def test_the_alpha_step_leaves_no_gradient_of_a_weight(tmp_path):
    runner = make_runner(tmp_path)
    architect = prepare(runner)
    before = [w.detach().clone() for w in runner.model.split()[1]]
    architect.step(TRAIN)
    assert all(p.grad is None for p in runner.model.parameters())
    assert all(map(torch.equal, before, runner.model.split()[1]))


def test_the_backward_of_the_digits_search_reaches_no_convolution_weight(tmp_path):
    runner = digits_runner(tmp_path)
    architect = prepare(runner)
    runner.model.train()
    flags, kinds = set(), set()

    def note(module, args, output):
        flags.update(p.requires_grad for p in module.parameters(recurse=False))
        kinds.add(type(module).__name__)

    handles = [
        m.register_forward_hook(note) for m in runner.model.modules() if m is not architect.owner
    ]
    batch = next(iter(runner.train_dataloader or runner.build_dataloader(
        runner.cfg.train_dataloader)))  # fmt: skip
    architect.step(batch)
    assert flags == {False} and 'Conv2d' in kinds
    flags.clear()
    runner.model.train_step(batch, runner.optim_wrapper)
    assert True in flags
    for handle in handles:
        handle.remove()


PARAMWISE = [
    None,
    dict(norm_decay_mult=0.0),
    dict(custom_keys={'backbone': dict(lr_mult=0.5), 'arch_parameters': dict(lr_mult=2.0)}),
]


@pytest.mark.parametrize('paramwise', PARAMWISE)
@pytest.mark.parametrize('wrapped', [False, True])
def test_the_weight_optimizer_holds_every_weight_and_no_alpha(wrapped, paramwise):
    model = make_model()
    target = torch.nn.DataParallel(model) if wrapped else model
    constructor = SearchOptimWrapperConstructor(dict(optimizer=dict(SGD)), paramwise)
    for alpha in model.split()[0]:
        alpha.requires_grad_(True)  # even where it were open
    optimizer = constructor(target).optimizer
    held = [p for group in optimizer.param_groups for p in group['params']]
    assert len(held) == len({id(p) for p in held})
    alphas, weights = model.split()
    assert {id(p) for p in held} == {id(p) for p in weights}
    assert not {id(p) for p in held} & {id(p) for p in alphas}


FROZEN = dict(type='SGD', lr=0.0, momentum=0.9)  # weights that stand still leave alpha's path alone


@pytest.mark.parametrize(
    ('optimizer', 'wrapper'),
    [
        (FROZEN, dict(clip_grad=dict(max_norm=1e-9))),
        (FROZEN, dict(clip_grad=dict(clip_value=1e-9, type='value'))),
        (dict(FROZEN, weight_decay=0.5), None),
        (dict(FROZEN, type='AdamW', weight_decay=0.5, momentum=None), None),
    ],
    ids=['clipped norm', 'clipped value', 'decay', 'decoupled decay'],
)
def test_clipping_and_decay_of_the_weights_never_touch_alpha(tmp_path, optimizer, wrapper):
    optimizer = {key: value for key, value in optimizer.items() if value is not None}
    paths = []
    for name, settings in (('plain', (FROZEN, None)), ('other', (optimizer, wrapper))):
        watch = Watch()
        runner = make_runner(
            tmp_path / name,
            BERArchitectHook,
            lambda_=0.75,
            optimizer=settings[0],
            wrapper=settings[1],
            hooks=(watch,),
        )
        runner.train()
        paths.append(watch.alphas)
    for one, other in zip(*paths, strict=True):
        assert all(map(torch.equal, one, other))
    assert not torch.equal(paths[0][0][0], paths[0][-1][0])


def test_a_gradient_left_on_alpha_is_neither_clipped_with_nor_followed(tmp_path):
    grad_norms, ends = [], []
    for stale in (0.0, 1e6):

        class Spoil(Hook):
            priority = 'LOWEST'

            def before_train_iter(self, runner, batch_idx, data_batch=None, stale=stale):
                if stale:
                    for alpha in runner.model.split()[0]:
                        alpha.grad = torch.full_like(alpha, stale)

        folder = tmp_path / str(stale)
        runner = make_runner(
            folder, wrapper=dict(clip_grad=dict(max_norm=0.1)), hooks=(Spoil(),), start_epoch=9
        )
        runner.train()
        grad_norms.append([row['grad_norm'] for row in rows(folder)])
        ends.append(runner.model.split())
    assert grad_norms[0] == grad_norms[1] and max(grad_norms[0]) < 100
    for one, other in zip(ends[0][0] + ends[0][1], ends[1][0] + ends[1][1], strict=True):
        assert torch.equal(one, other)


# Data


@pytest.mark.slow
def test_batches_are_a_function_of_the_number_of_steps(tmp_path):
    def sequence(steps, count):
        runner = digits_runner(tmp_path / f'{steps}_{count}')
        architect = prepare(runner)
        architect.steps = steps
        indices = []
        for _ in range(count):
            batch = architect.next_batch()
            architect.steps += 1
            indices.append([sample.sample_idx for sample in batch['data_samples']])
        return indices

    whole = sequence(0, 6)
    assert sorted(whole[0] + whole[1]) == sorted(whole[2] + whole[3])  # two batches an epoch
    assert whole[:2] != whole[2:4]
    for steps in (1, 2, 5):
        assert sequence(steps, 6 - steps) == whole[steps:]


@pytest.mark.slow
def test_loaders_that_split_differently_are_refused(tmp_path):
    options = {'arch_dataloader.dataset.seed': 1}
    with pytest.raises(UserError, match=r'split the training images differently \(seed, indices'):
        digits_runner(tmp_path / 'seed', options).train()
    options = {'arch_dataloader.dataset.part': 'weights'}
    with pytest.raises(UserError, match="part='alpha', but"):
        digits_runner(tmp_path / 'part', options).train()
    # also where mmengine wraps the data set to shorten an epoch
    options['arch_dataloader.num_batch_per_epoch'] = 1
    options['train_dataloader.num_batch_per_epoch'] = 1
    with pytest.raises(UserError, match="part='alpha', but"):
        digits_runner(tmp_path / 'short', options).train()


def test_fewer_images_than_a_batch_are_refused(tmp_path):
    with pytest.raises(UserError, match='arch_dataloader: only 16 images for a batch of 64'):
        digits_runner(tmp_path, {'arch_dataloader.batch_size': 64}).train()


def test_without_a_loader_or_an_optimizer_the_line_says_so(tmp_path):
    for key in ('arch_dataloader', 'arch_optimizer'):
        runner = make_runner(tmp_path / key, **{key: None})
        with pytest.raises(UserError, match=f'the architect needs {key}: set it'):
            runner.train()


# Precision


@pytest.mark.parametrize('order', [1, 2])
def test_float16_scaling_changes_no_gradient(tmp_path, order):
    grads, options = [], dict(order=order, dtype=torch.float32)
    if order == 2:
        options['hessian'] = 'autograd'
    for scaled in (False, True):
        runner = make_runner(tmp_path / str(scaled), **options)
        architect = prepare(runner)
        if scaled:
            architect.scaler = torch.amp.GradScaler('cpu', init_scale=2.0**10)
        batches = make_batch(1, torch.float32), make_batch(2, torch.float32)
        grad, loss, scale = architect.loss_gradient(*batches)
        assert scale == (1024 if scaled else 1)
        grads.append([*grad, loss])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)
        assert other.dtype == torch.float32


def test_a_weight_optimizer_that_scales_gives_alpha_a_scaler_of_its_own(tmp_path):
    runner = make_runner(tmp_path, dtype=torch.float32)
    prepare(runner)
    assert architect_of(runner).scaler is None
    runner.optim_wrapper.loss_scaler = torch.amp.GradScaler('cpu')
    runner.call_hook('before_train')
    architect = architect_of(runner)
    assert architect.scaler.get_scale() == 65536.0
    assert architect.scaler is not runner.optim_wrapper.loss_scaler
    architect.step(make_batch(1, torch.float32))
    assert architect.steps == 1


@pytest.mark.parametrize('order', [1, 2])
def test_an_overflow_skips_the_step_says_so_and_lowers_the_scale(tmp_path, order):
    runner = make_runner(tmp_path, BERArchitectHook, lambda_=0.5, order=order, dtype=torch.float32)
    architect = prepare(runner)
    architect.scaler = torch.amp.GradScaler('cpu', init_scale=2.0**127, growth_interval=2)
    # 2^127 times a loss or gradient of 4 and more is beyond float32
    train, val = ({k: 1e3 * v if k == 'inputs' else v for k, v in make_batch(s, torch.float32).
                   items()} for s in (1, 2))  # fmt: skip
    architect.next_batch = lambda: val
    with torch.no_grad():
        for alpha in architect.alphas:
            alpha.zero_()
        runner.model.head.weight.mul_(100)
    before = alphas_of(runner)
    scales, moved = [], []
    for _ in range(40):
        scales.append(architect.scaler.get_scale())
        runner.model.seen.clear()
        hook_of(runner).step(runner, train)
        hook_of(runner).after_train_iter(runner, 0)
        moved.append(not all(map(torch.equal, before, alphas_of(runner))))
        if moved[-1]:
            break
    assert moved[0] is False and moved[-1] is True
    assert scales == [2.0 ** (127 - i) for i in range(len(scales))]
    text = next(tmp_path.glob('*/*.log')).read_text()
    skipped = [line for line in text.splitlines() if 'its float16 gradient overflowed' in line]
    assert len(skipped) == len(scales) - 1
    assert 'alpha step of iteration 1 skipped' in skipped[0] and '1.70141e+38' in skipped[0]
    assert all(alpha.dtype == torch.float32 and alpha.grad is None for alpha in architect.alphas)
    assert all(bool(torch.isfinite(alpha).all()) for alpha in architect.alphas)
    # two good steps in a row double it
    good = architect.scaler.get_scale()
    architect.step(train)
    assert architect.scaler.get_scale() == 2 * good


def test_the_scaler_is_part_of_a_checkpoint(tmp_path):
    runner = make_runner(tmp_path, dtype=torch.float32)
    architect = prepare(runner)
    architect.scaler = torch.amp.GradScaler('cpu', init_scale=64.0, growth_interval=5)
    architect.step(make_batch(1, torch.float32))
    saved = {}
    hook_of(runner).before_save_checkpoint(runner, saved)
    assert saved['arch']['scaler']['scale'] == 64.0
    assert saved['arch']['scaler']['_growth_tracker'] == 1
    architect.scaler = torch.amp.GradScaler('cpu')
    # its sampler cannot go to the second batch
    architect.load_state_dict(dict(saved['arch'], steps=0))
    assert architect.scaler.get_scale() == 64.0
    for _ in range(4):
        architect.step(make_batch(1, torch.float32))
    assert architect.scaler.get_scale() == 128.0


@pytest.mark.slow
def test_bfloat16_leaves_alpha_in_float32(tmp_path):
    runner = digits_runner(tmp_path)
    cfg = runner.cfg
    set_amp(cfg, 'bf16')
    runner = digits_runner(tmp_path / 'bf16', optim_wrapper=cfg.optim_wrapper)
    start = runner.model.backbone.arch_parameters['cell'].clone()
    dtypes = {'alpha': set(), 'weights': set()}
    runner.model.backbone.stem[0].register_forward_hook(
        lambda module, args, output: dtypes[runner.model.backbone.phase].add(output.dtype)
        if runner.model.training else None
    )  # fmt: skip
    runner.train()
    alpha = runner.model.backbone.arch_parameters['cell']
    assert dtypes == {'alpha': {torch.bfloat16}, 'weights': {torch.bfloat16}}
    assert alpha.dtype == torch.float32 and not torch.equal(alpha, start)
    state = architect_of(runner).optimizer.state[alpha]
    assert state['exp_avg'].dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in runner.model.parameters())
    row = rows(tmp_path / 'bf16')[-1]
    assert 1.5 < row['arch_loss'] < 3.5


# Resumed with another method

FOUR = {'epochs': 2, 'model.backbone.channels': 4, 'model.head.in_channels': 16}


@pytest.fixture(scope='module')
def begun(tmp_path_factory) -> Callable[[str], str]:
    """The checkpoint of an epoch of a method."""

    @functools.cache
    def begin(method: str) -> str:
        folder = tmp_path_factory.mktemp(method)
        options = dict(FOUR, epochs=1)
        digits_runner(folder, options, images=16, config=f'{method}_nb201_digits').train()
        return str(folder / 'epoch_1_iter_1.pth')

    return begin


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'other', 'line'),
    [
        ('gdas', 'pc_darts', 'the relaxation GumbelSoftmax, this config has Softmax'),
        ('gdas', 'reinmax', 'the relaxation GumbelSoftmax, this config has ReinMax'),
        ('gdas', 'gdas_aer', 'the regularizers none, this config has AdaptiveEntropy'),
        ('darts', 'darts_2nd', 'the architect FirstOrder, this config has Unrolled'),
        ('darts', 'darts_minus', 'the mixed operation MixedOp, this config has AuxiliarySkip'),
        ('darts', 'beta_darts', 'the regularizers none, this config has BetaDecay'),
    ],
)
def test_a_search_of_another_method(method, other, line, begun, tmp_path):
    """Whatever is alike: groups, weights, state of the optimizers."""
    runner = digits_runner(
        tmp_path, FOUR, images=16, config=f'{other}_nb201_digits', resume=begun(method)
    )
    with pytest.raises(UserError) as error:
        runner.train()
    assert str(error.value) == (
        f'cannot resume: the run was begun with {line}; resume with the config that began the run'
    )


@pytest.mark.slow
def test_bers_factor_may_change_and_older_checkpoints_do_not_say(begun, tmp_path):
    options = {**FOUR, 'default_hooks.architect.lambda_': 0.5}
    path, config = begun('darts'), 'darts_nb201_digits'
    digits_runner(tmp_path / 'ber', options, images=16, config=config, resume=path).train()
    saved = read_checkpoint(path)
    for key in ('method', 'own'):
        del saved['arch'][key]
    del saved['layout']
    torch.save(saved, tmp_path / 'older.pth')
    older = str(tmp_path / 'older.pth')
    runner = digits_runner(tmp_path, FOUR, images=16, config=config, resume=older)
    runner.train()
    assert runner.epoch == 2


# What fails


def test_a_validation_loss_that_is_lost_stops_the_run(tmp_path):
    loader = make_loader(100)
    loader.dataset[BATCH_OF_NAN]['inputs'].fill_(math.nan)
    watch = Watch()
    runner = make_runner(tmp_path, arch_dataloader=loader, hooks=(watch,))
    with pytest.raises(RunFailed, match='search loss L_val became nan at iteration 2 .epoch 1.'):
        runner.train()
    assert [name for _, name in watch.events] == ['alpha', 'weights']
    assert all(bool(torch.isfinite(alpha).all()) for alpha in alphas_of(runner))


BATCH_OF_NAN = 9  # the second sample of the second batch


def test_a_gradient_that_is_lost_stops_the_run(tmp_path):
    class Broken(Regularizer):
        def __call__(self, arch_parameters, space):
            # 0 at 0, with an infinite slope
            return sum((a - a.detach()).abs().sqrt().sum() for a in arch_parameters.values())

    runner = make_runner(tmp_path, regularizers=dict(broken=Broken(1.0)))
    start = alphas_of(runner)
    with pytest.raises(RunFailed, match="alpha's gradient became NaN or infinite at iteration 1"):
        runner.train()
    assert all(map(torch.equal, start, alphas_of(runner)))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(order=3), 'order must be 1 or 2, but is 3'),
        (dict(order='2'), "order must be 1 or 2, but is '2'"),
        (dict(hessian='exact'), "hessian must be 'finite_difference' or 'autograd'"),
        (dict(step_order='alpha'), "'epochs_in_turn'), but is 'alpha'"),
        (
            dict(step_order='weights_first', architect='SingleLevel'),
            "step_order='weights_first' does not go with SingleLevel, which moves alpha in the "
            'step of the weights',
        ),
        (
            dict(step_order='weights_first', architect='NTKTrace'),
            "step_order='weights_first' does not go with NTKTrace, which trains no weights",
        ),
        (
            dict(hessian='autograd'),
            "hessian is 'autograd', which has no effect with order=1: set order=2",
        ),
        (dict(start_epoch=-1), 'start_epoch must be an epoch, 0 or later, but is -1'),
        (dict(start_epoch=1.5), 'start_epoch must be an epoch, 0 or later, but is 1.5'),
        (dict(regularizers=dict(ber='BatchEntropy')), "did you mean 'BatchEntropyDecay'"),
        (dict(regularizers=dict(ber=dict(BER, weight=1))), "takes no 'weight'"),
        (dict(regularizers=['BatchEntropyDecay']), 'regularizers are a dict by name, such as'),
        (
            dict(lambda_=0.5, regularizers=dict(ber=dict(BER, lambda_=0.75))),
            'lambda_ is 0.5, but regularizers.ber.lambda_ is 0.75: set one of them',
        ),
        (
            dict(lambda_=0.5, regularizers=dict(ber=BatchEntropyDecay(0.5))),
            'lambda_ is 0.5, but regularizers.ber is built already',
        ),
    ],
)
def test_options_that_are_not_known(options, message):
    with pytest.raises(UserError) as caught:
        ArchitectHook(**options)
    assert message in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('value', [-0.5, math.nan, math.inf, '0.75', None])
def test_a_lambda_that_is_no_number_from_zero(value):
    with pytest.raises(UserError, match='lambda_ of BatchEntropyDecay must be'):
        BERArchitectHook(value)


# Checkpoints


def test_a_schedule_of_alpha_goes_on_where_the_run_is_resumed(tmp_path):
    schedule = [dict(type='MultiStepLR', milestones=[1], gamma=0.1)]
    whole = make_runner(tmp_path / 'whole', arch_param_scheduler=schedule, epochs=2)
    whole.train()
    make_runner(tmp_path / 'part', arch_param_scheduler=schedule, epochs=1).train()
    (path,) = (tmp_path / 'part').glob('*.pth')
    part = make_runner(tmp_path / 'part', arch_param_scheduler=schedule, epochs=2, resume=str(path))
    part.train()
    assert part.iter == 6 and architect_of(part).steps == 6
    assert all(map(torch.equal, alphas_of(whole), alphas_of(part)))
    (group,) = architect_of(part).optimizer.param_groups
    assert group['lr'] == pytest.approx(3e-5) and group['initial_lr'] == 3e-4


def test_the_checkpoint_entry_holds_plain_data(tmp_path):
    schedule = [dict(type='CosineAnnealingLR', T_max=4)]
    runner = make_runner(tmp_path, BERArchitectHook, lambda_=1, arch_param_scheduler=schedule)
    runner.train()
    (path,) = tmp_path.glob('*.pth')
    saved = read_checkpoint(path)['arch']
    assert set(saved) == {'space', 'steps', 'optimizer', 'schedulers', 'scaler', 'own', 'method'}
    assert (saved['space'], saved['steps'], saved['scaler']) == ('tiny', 3, None)
    architect = architect_of(runner)
    for index, alpha in enumerate(architect.alphas):
        own = architect.optimizer.state[alpha]
        assert torch.equal(saved['optimizer']['state'][index]['exp_avg'], own['exp_avg'])
        assert float(own['step']) == 3
    assert saved['schedulers'][0]['last_step'] == 1


def test_what_cannot_be_resumed(tmp_path):
    runner = make_runner(tmp_path)
    runner._resume = True
    architect = hook_of(runner)
    with pytest.raises(UserError, match='not of a search .no entry arch.'):
        architect.after_load_checkpoint(runner, {})
    with pytest.raises(UserError, match="of the space 'darts', this config searches 'tiny'"):
        state = dict(space='darts', steps=1, optimizer={}, schedulers=[], scaler=None)
        architect.after_load_checkpoint(runner, dict(arch=state))
    # weights that a new search starts from need no state of an architect
    runner._resume = False
    architect.after_load_checkpoint(runner, {})
