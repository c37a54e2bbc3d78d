"""The step of the weights: what an architect may do in it, and alpha's gradient out of it."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import OptimWrapper
from test_architect.tiny_search import (
    ADAM,
    architect_of,
    hook_of,
    make_batch,
    make_loader,
    make_model,
    make_runner,
    scaled_wrapper,
)

from rdarts.architect.architects.first_order import FirstOrder
from rdarts.architect.architects.single_level import SingleLevel
from rdarts.architect.regularizers import BatchEntropyDecay
from rdarts.errors import RunFailed, UserError
from rdarts.registry import ARCHITECTS

TRAIN = make_batch(1)


def adam(alphas):
    return torch.optim.Adam(alphas, **{key: ADAM[key] for key in ADAM if key != 'type'})


def make(kind, wrapper=None, **model):
    net = make_model(**model)
    optimizer = torch.optim.SGD(net.split()[1], lr=0.1, momentum=0.9)
    wrapper = OptimWrapper(optimizer) if wrapper is None else wrapper(optimizer)
    architect = kind()
    loader = None if kind.single_level else make_loader(100)
    architect.prepare(net, wrapper, loader, adam)
    return architect


@ARCHITECTS.register_module(force=True)
class Noting(FirstOrder):
    """Notes what it is told, and doubles the gradients of the weights."""

    def __init__(self):
        super().__init__()
        self.told = []

    def train_step(self, model, batch):
        self.told.append(('before', batch['inputs'].clone(), self.norm()))
        return super().train_step(model, batch)

    def before_clip(self, loss):
        self.told.append(('clip', loss, self.norm()))
        for weight in self.weights:
            if weight.grad is not None:
                weight.grad.mul_(2)

    def after_weights_step(self):
        self.told.append(('after', None, self.norm()))

    def norm(self):
        grads = [w.grad.flatten() for w in self.weights if w.grad is not None]
        return float(torch.cat(grads).norm()) if grads else None


def test_an_architect_takes_part_before_the_clip_and_after_the_step():
    architect = make(Noting)
    twin = make_model()
    twin.loss(**TRAIN).backward()
    grads = [w.grad for w in twin.split()[1]]
    start = [w.detach().clone() for w in architect.weights]
    losses = architect.train_step(architect.model, TRAIN)
    names, (_, loss, norm) = [told[0] for told in architect.told], architect.told[1]
    assert names == ['before', 'clip', 'after']
    assert torch.equal(architect.told[0][1], TRAIN['inputs']) and architect.told[0][2] is None
    assert torch.equal(loss, losses['loss']) and not loss.requires_grad
    assert norm == pytest.approx(float(torch.cat([g.flatten() for g in grads]).norm()), rel=1e-12)
    for weight, before, grad in zip(architect.weights, start, grads, strict=True):
        torch.testing.assert_close(weight, before - 0.1 * 2 * grad, rtol=1e-12, atol=1e-14)
        assert weight.grad is None


def test_where_gradients_are_accumulated_it_is_told_of_steps_alone():
    architect = make(Noting, lambda optimizer: OptimWrapper(optimizer, accumulative_counts=2))
    architect.optim_wrapper.initialize_count_status(architect.model, 0, 4)
    for _ in range(4):
        architect.train_step(architect.model, TRAIN)
    assert [told[0] for told in architect.told] == 2 * ['before', 'before', 'clip', 'after']


def test_gradients_are_without_the_loss_scale():
    class NoScalerOfAlpha(Noting):
        single_level = True  # so that no GradScaler is made

    plain, other = make(Noting), make(NoScalerOfAlpha, scaled_wrapper)
    for architect in (plain, other):
        architect.train_step(architect.model, TRAIN)
    assert other.told[1][2] == pytest.approx(plain.told[1][2], rel=1e-12)
    for a, b in zip(plain.weights, other.weights, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


# Single level


def test_alpha_steps_along_the_gradient_of_the_training_loss():
    architect = make(SingleLevel)
    architect.regularizers = dict(ber=BatchEntropyDecay(0.5))
    twin = make_model()
    alphas, weights = twin.split()
    for alpha in alphas:
        alpha.requires_grad_(True)
    ber = BatchEntropyDecay(0.5)(twin.backbone.arch_parameters, twin.backbone.space)
    loss = twin.loss(**TRAIN)
    (loss + 0.5 * ber).backward()
    adam(alphas).step()
    torch.optim.SGD(weights, lr=0.1, momentum=0.9).step()
    architect.train_step(architect.model, TRAIN)
    for mine, own in zip(architect.model.split(), (alphas, weights), strict=True):
        for a, b in zip(mine, own, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    taken = architect.taken
    assert taken.taken and taken.penalties['ber'].lambda_ == 0.5
    assert torch.equal(taken.loss, loss.detach())
    assert not any(alpha.requires_grad or alpha.grad is not None for alpha in architect.alphas)
    seen = architect.model.seen[-1]
    assert (seen['phase'], seen['alphas'], seen['weights']) == ('alpha', {True}, {True})


def test_where_alpha_rests_the_weights_learn_alone():
    architect = make(SingleLevel)
    architect.moving = False
    start = [alpha.clone() for alpha in architect.alphas]
    architect.train_step(architect.model, TRAIN)
    assert architect.taken is None and architect.steps == 0
    assert all(torch.equal(a, b) for a, b in zip(architect.alphas, start, strict=True))
    assert architect.model.seen[-1]['phase'] == 'weights'
    assert architect.model.seen[-1]['alphas'] == {False}


def test_a_search_of_a_single_level(tmp_path):
    runner = make_runner(
        tmp_path / 'run', architect='SingleLevel', arch_dataloader=None, epochs=2, start_epoch=1
    )
    runner.train()
    architect = architect_of(runner)
    assert architect.steps == 3 and len(runner.model.seen) == 6  # one forward an iteration
    assert str(architect) == 'single level'
    resumed = make_runner(
        tmp_path / 'resumed',
        architect='SingleLevel',
        arch_dataloader=None,
        epochs=2,
        start_epoch=1,
        resume=str(tmp_path / 'run' / 'epoch_1_iter_3.pth'),
    )
    resumed.train()
    for a, b in zip(runner.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_accumulated_gradients_are_refused(tmp_path):
    wrapper = dict(accumulative_counts=2)
    runner = make_runner(tmp_path, architect='SingleLevel', arch_dataloader=None, wrapper=wrapper)
    with pytest.raises(
        UserError, match=r'^SingleLevel takes .* optim_wrapper.accumulative_counts=1'
    ):
        runner.train()


def test_a_loader_of_alpha_is_refused(tmp_path):
    runner = make_runner(tmp_path, architect='SingleLevel')
    with pytest.raises(
        UserError, match=r'^SingleLevel takes no batches for alpha alone: .* arch_dataloader=None'
    ):
        runner.train()


def test_a_loss_that_is_lost(tmp_path):
    model = make_model()
    with torch.no_grad():
        model.head.bias.fill_(torch.nan)
    runner = make_runner(tmp_path, architect='SingleLevel', arch_dataloader=None, model=model)
    with pytest.raises(RunFailed, match=r'^the training loss became nan at iteration 1 \(epoch 1'):
        runner.train()


# When alpha moves, and how far


def test_every_so_many_iterations(tmp_path):
    runner = make_runner(tmp_path, every=2, epochs=2)
    moved = []
    step = architect_of(runner).step
    architect_of(runner).step = lambda batch: moved.append(runner.iter) or step(batch)
    runner.train()
    assert moved == [1, 4]  # the second of each epoch of three


@pytest.mark.parametrize('kind', ['FirstOrder', 'SingleLevel'])
def test_the_gradient_of_alpha_is_clipped(tmp_path, kind):
    moves = {}
    for clip in (None, 1e-3):
        runner = make_runner(
            tmp_path / str(clip),
            architect=kind,
            arch_dataloader=None if kind == 'SingleLevel' else make_loader(100),
            arch_clip_grad=clip,
            arch_optimizer=dict(type='SGD', lr=1.0),
            model=make_model(),
            batches=1,
        )
        start = [alpha.clone() for alpha in runner.model.split()[0]]
        runner.train()
        ends = zip(runner.model.split()[0], start, strict=True)
        moves[clip] = torch.cat([(a - b).flatten() for a, b in ends])
    assert float(moves[None].norm()) > 1e-2
    assert float(moves[1e-3].norm()) == pytest.approx(1e-3, rel=1e-3)
    cosine = torch.nn.functional.cosine_similarity(moves[None], moves[1e-3], dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(every=0), 'every must be a number of iterations, 1 or more, but is 0'),
        (dict(arch_clip_grad=0.0), 'arch_clip_grad must be more than 0, but is 0.0'),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        make_runner(tmp_path, **options)


def test_it_is_a_hook_of_every_method(tmp_path):
    assert hook_of(make_runner(tmp_path)).architect.single_level is False
