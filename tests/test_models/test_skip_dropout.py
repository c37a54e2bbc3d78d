"""Dropout on skip connections, against P-DARTS's published schedule and torch's dropout."""

from __future__ import annotations

import math

import pytest
import torch
from golden import golden
from torch import nn

from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config, phases_of
from rdarts.errors import UserError
from rdarts.models import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.mixed_ops.skip_dropout import SkipDropout
from rdarts.registry import MIXED_OPS, build

EXECUTIONS = ['plain', 'fused']
EDGES = [['none', 'skip_connect', 'avg_pool_3x3'], ['sep_conv_3x3', 'skip_connect'], ['none']]
WEIGHTS = [0.5, 0.25, 0.25, 0.75, 0.5, 1.0]


def made(execution='plain', edges=EDGES, seed=0, kind=SkipDropout, **kwargs):
    torch.manual_seed(seed)
    mixed = kind(edges, 8, **kwargs).double()
    mixed.execution = execution
    return mixed


def images(count=3, size=6):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 8, size, size, generator=generator, dtype=torch.float64)


def test_the_rates_fall_as_published():
    given, expected, tolerance = golden('pdarts', 'skip_dropout_schedule')
    phases = phases_of(load_config(configs_folder() / 'search' / 'pdarts_darts_c10.py'))
    for number, phase in enumerate(phases, 1):
        mixed = build(phase.cfg.model.backbone.mixed_op, MIXED_OPS, candidates=EDGES, in_channels=8)
        assert mixed.numbers()['rate'] == given['p0'][number - 1]
        assert phase.epochs == given['E']
        assert phase.cfg.default_hooks.architect.start_epoch == given['frozen']
        for epoch, value in expected[f'stage{number}'].items():
            mixed.set_progress(int(epoch), phase.epochs)
            assert abs(math.prod(mixed.numbers().values()) - value) < tolerance, epoch


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_skip_connections_alone_lose_numbers(execution):
    """The difference to a mixture without dropout is that of the skip connections."""
    dropped, whole = (
        made(execution, kind=kind, **options)
        for kind, options in ((SkipDropout, dict(rate=0.4)), (MixedOp, {}))
    )
    x, mixing = images(40, 8), Mixing(torch.tensor(WEIGHTS, dtype=torch.float64))
    pairs = list(zip(dropped.forward_edges(x, mixing), whole.forward_edges(x, mixing), strict=True))
    masks = []
    for (found, full), beta in zip(pairs[:2], (0.25, 0.5), strict=True):
        factor = (found - full) / (beta * x) + 1  # of each number: 0, or 1 / .6
        kept = factor > 0.5
        torch.testing.assert_close(factor, kept.double() / 0.6, rtol=0, atol=1e-8)
        # four standard deviations
        assert abs(kept.double().mean() - 0.6) < 4 * math.sqrt(0.24 / x.numel())
        masks.append(kept)
    assert not torch.equal(*masks)
    assert not pairs[2][0].any()  # an edge of none alone
    means = masks[0].double().mean((2, 3))
    assert means.min() > 0 and means.max() < 1  # elementwise: no image and no channel as a whole


def test_masks_are_as_likely_as_those_of_dropout():
    torch.manual_seed(0)
    mixed = made(edges=['skip_connect'], rate=0.7)
    x = torch.ones(50, 8, 10, 10, dtype=torch.float64)
    found = mixed(x, torch.ones(1, dtype=torch.float64))
    theirs = nn.Dropout(0.7)(x)
    for values in (found, theirs):
        torch.testing.assert_close(
            values.unique(), torch.tensor([0, 1 / 0.3], dtype=torch.float64), rtol=1e-12, atol=0
        )
        assert abs(values.mean() - 1) < 0.05


@pytest.mark.parametrize('active', [None, [[1, 2], [0], [0]], [[2], [1], []]])
@pytest.mark.parametrize('factors', [False, True])
def test_executions_agree(active, factors):
    """With what of it, one draw: outputs, and gradients of images, weights and mixing weights."""
    found = []
    for execution in EXECUTIONS:
        mixed = made(execution, rate=0.5)
        x = images().requires_grad_()
        into = [images(), None, images().clone()]
        if execution == 'fused':  # in which memory format the images lie changes nothing
            x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        weights = torch.tensor(WEIGHTS, dtype=torch.float64, requires_grad=True)
        factor = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64) if factors else None
        torch.manual_seed(3)
        outputs = mixed.forward_edges(x, Mixing(weights, active, factor), into)
        loss = sum((out * images() ** 2).sum() for out in outputs)
        leaves = [x, weights, *mixed.parameters()]
        grads = torch.autograd.grad(loss, leaves, allow_unused=True)
        found.append([*outputs, *(torch.zeros(()) if g is None else g for g in grads)])
    for one, other in zip(*found, strict=True):
        if one.shape == other.shape:
            torch.testing.assert_close(one.double(), other.double(), rtol=1e-9, atol=1e-9)
        else:  # a parameter of what does not run: none, or zeros
            assert not one.any() and not other.any()


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_without_dropout_nothing_is_drawn_and_it_is_a_mixed_operation(execution):
    x, mixing = images(), Mixing(torch.tensor(WEIGHTS, dtype=torch.float64))
    points = dict(points=[(0, 0.5), (4, 0.0)])
    ended = made(execution, rate=points)
    ended.set_progress(4, 5)
    for quiet in (made(execution), ended, made(execution, rate=0.5).eval()):
        plain = made(execution, kind=MixedOp).train(quiet.training)
        state = torch.get_rng_state()
        outputs = quiet.forward_edges(x, mixing)
        assert torch.equal(torch.get_rng_state(), state)
        for found, expected in zip(outputs, plain.forward_edges(x, mixing), strict=True):
            assert torch.equal(found, expected)
        assert quiet.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_skip_connections_that_have_weights_lose_nothing(execution):
    edges = [['skip_connect', 'max_pool_3x3']]
    for sizes in (dict(stride=2), dict(out_channels=12)):
        found, expected = (
            made(execution, edges, kind=kind, **sizes, **options)
            for kind, options in ((SkipDropout, dict(rate=0.5)), (MixedOp, {}))
        )
        mixing = Mixing(torch.ones(2, dtype=torch.float64))
        pairs = (one.forward_edges(images(), mixing)[0] for one in (found, expected))
        assert torch.equal(*pairs)


def test_an_observer_sees_what_was_dropped():
    mixed = made(rate=0.5)
    seen = {}
    mixed.observer = lambda label, name, out: seen.update({(label, name): out})
    mixed.forward_edges(images(), Mixing(torch.tensor(WEIGHTS, dtype=torch.float64)))
    assert set(seen) == {
        *(('0', name) for name in ('skip_connect', 'avg_pool_3x3')),
        *(('1', name) for name in ('skip_connect', 'sep_conv_3x3')),
    }
    assert 0.2 < (seen['1', 'skip_connect'] == 0).double().mean() < 0.8


def test_a_skip_connection_that_runs_adds_no_constant():
    """Of those that do not run the weight is added, 0 in value, as GDAS's code does it."""
    weights = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
    mixed = made(edges=EDGES[:1], rate=0.5)
    torch.manual_seed(3)
    (out,) = mixed.forward_edges(images(), Mixing(weights, [[1]], constant=True))
    torch.manual_seed(3)
    (without,) = mixed.forward_edges(images(), Mixing(weights, [[1]]))
    torch.testing.assert_close(out, without)
    (grad,) = torch.autograd.grad(out.sum(), weights)
    count = images().numel()
    assert grad[0] == grad[2] == count
    torch.testing.assert_close(grad[1], without.sum())


@pytest.mark.parametrize(
    ('given', 'line'),
    [
        (dict(rate=1.0), 'rate of SkipDropout times fading must be below 1, but is 1'),
        (dict(rate=dict(points=[(0, 0), (9, 1.5)])), 'must be below 1, but is 1.5'),
        (dict(rate=0.5, fading=3), 'must be below 1, but is 1.5'),
        (dict(rate=-0.1), '^rate of SkipDropout must be at least 0, but is -0.1'),
        (dict(fading=-1), '^fading of SkipDropout must be at least 0, but is -1'),
    ],
)
def test_rates_that_are_no_probability(given, line):
    with pytest.raises(UserError, match=line):
        SkipDropout(EDGES, 8, **given)
