"""The architect by itself: no runner, no hook, no files."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from mmengine.optim import OptimWrapper
from test_architect.tiny_search import ADAM, make_batch, make_loader, make_model, make_runner

from rdarts.architect.alpha_step import StepFailed
from rdarts.architect.architect import Architect
from rdarts.architect.architects.first_order import FirstOrder
from rdarts.architect.architects.unrolled import Unrolled
from rdarts.architect.regularizers import BatchEntropyDecay
from rdarts.errors import UserError
from rdarts.hooks.architect_hook import ArchitectHook
from rdarts.registry import ARCHITECTS

TRAIN = make_batch(1)


def make_architect(kind: type[Architect] = FirstOrder, **regularizers) -> Architect:
    model = make_model()
    architect = kind()
    architect.regularizers = regularizers
    architect.prepare(
        model,
        OptimWrapper(torch.optim.SGD(model.split()[1], lr=0.1, momentum=0.9)),
        make_loader(100),
        partial(torch.optim.Adam, lr=ADAM['lr'], betas=ADAM['betas'], weight_decay=1e-3),
    )
    return architect


@pytest.mark.parametrize('kind', [FirstOrder, Unrolled])
def test_it_steps_alone_as_in_a_search(tmp_path, kind):
    architect = make_architect(kind, ber=BatchEntropyDecay(0.75))
    start = [alpha.clone() for alpha in architect.alphas]
    train_batch = next(iter(make_loader(200)))
    step = architect.step(train_batch)
    runner = make_runner(
        tmp_path,
        architect=kind.__name__,
        regularizers=dict(ber=BatchEntropyDecay(0.75)),
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9),
        model=make_model(),
        batches=1,
    )
    runner.train()
    for alpha, found in zip(architect.alphas, runner.model.split()[0], strict=True):
        assert torch.equal(alpha, found)
    assert step.taken and step.scale == 1 and architect.steps == 1
    assert set(step.penalties) == {'ber'} and step.penalties['ber'].lambda_ == 0.75
    for total, grad, ber in zip(step.total, step.grads, step.penalties['ber'].grads, strict=True):
        assert torch.equal(total, grad + 0.75 * ber)
    for alpha, before in zip(architect.alphas, start, strict=True):
        assert not torch.equal(alpha, before) and alpha.grad is None and not alpha.requires_grad


def test_within_training_alpha_the_weights_are_frozen():
    architect = make_architect()
    weights = architect.weights
    assert weights == architect.model.split()[1]
    with architect.training_alpha():
        assert all(alpha.requires_grad for alpha in architect.alphas)
        assert not any(weight.requires_grad for weight in weights)
        assert architect.owner.phase == 'alpha'
    assert not any(alpha.requires_grad for alpha in architect.alphas)
    assert architect.weights == weights and architect.owner.phase == 'weights'


def test_what_goes_wrong_says_what_and_why():
    architect = make_architect()
    with torch.no_grad():
        architect.model.head.bias.fill_(torch.nan)
    with pytest.raises(StepFailed, match='^the search loss L_val became nan: a lower') as caught:
        architect.step(TRAIN)
    assert caught.value.what == 'the search loss L_val became nan'


def test_an_architect_must_say_how_the_gradient_is_taken():
    with pytest.raises(TypeError, match='Architect does not override gradient'):
        make_architect(Architect).step(TRAIN)


# Named by a config


@ARCHITECTS.register_module(force=True)
class Reversed(FirstOrder):
    """Climbs L_val."""

    def gradient(self, train_batch, val_batch):
        grads, loss = super().gradient(train_batch, val_batch)
        return [-grad for grad in grads], loss


def test_order_is_a_short_name_of_an_entry():
    assert type(ArchitectHook().architect) is FirstOrder
    second = ArchitectHook(order=2, hessian='autograd').architect
    assert type(second) is Unrolled and second.hessian == 'autograd'
    assert str(second) == 'second order (autograd)' and str(FirstOrder()) == 'first order'
    named = ArchitectHook(architect=dict(type='rdarts.Unrolled', hessian='autograd')).architect
    assert type(named) is Unrolled and named.hessian == 'autograd'


def test_an_entry_of_ones_own_searches(tmp_path):
    ways = []
    for kind in ('FirstOrder', 'Reversed'):
        model = make_model()
        start = [alpha.clone() for alpha in model.split()[0]]
        runner = make_runner(tmp_path / kind, architect=kind, model=model, batches=1)
        runner.train()
        moves = zip(runner.model.split()[0], start, strict=True)
        ways.append(torch.cat([(a - b).detach().flatten() for a, b in moves]).sign())
    assert float((ways[0] * ways[1]).mean()) < -0.9  # Adam's first step is a sign


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(architect='Unroled'), "unknown architect 'Unroled': did you mean 'Unrolled'"),
        (dict(architect='Unrolled', order=2), 'order does not go with architect='),
        (dict(architect=dict(type='Unrolled', order=2)), "takes no 'order'"),
        (dict(architect=dict(type='Unrolled', hessian='exact')), "hessian must be 'finite"),
    ],
)
def test_entries_that_do_not_fit(options, message):
    with pytest.raises(UserError, match=message):
        ArchitectHook(**options)
