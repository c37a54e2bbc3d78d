"""Fused where a relaxation samples: what is not drawn does not run."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from test_models.fused_nets import (
    SPACES,
    assert_executions_agree,
    assert_same,
    collect,
    image,
    loss_of,
    make,
    make_mixed,
    space_of,
)
from torch import Tensor

from rdarts.architect.architects.first_order import first_order
from rdarts.architect.relaxations import Relaxation
from rdarts.models import BaseSupernet
from rdarts.models.kernels import precision
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.registry import RELAXATIONS

pytestmark = pytest.mark.usefixtures('swish')


class StraightThrough(Relaxation):
    """The strongest of alpha + noise, with the gradient of its softmax."""

    sampled = True

    def forward(self, arch_parameters, space, phase):
        found = {}
        for name, alpha in arch_parameters.items():
            soft = (alpha + torch.rand_like(alpha)).softmax(-1)
            hard = torch.zeros_like(soft).scatter_(1, soft.argmax(-1, keepdim=True), 1.0)
            found[name] = hard + (soft - soft.detach())
        return found


@pytest.fixture
def straight_through():
    RELAXATIONS.register_module(name='StraightThrough', module=StraightThrough)
    yield 'rdarts.StraightThrough'
    RELAXATIONS.module_dict.pop('StraightThrough')


@pytest.mark.parametrize('name', ['nas_bench_201', 'darts', 'one_input', 'two_input'])
def test_sampled_operations_give_what_plain_gives(path, straight_through, name):
    net = make(space_of(name), relaxation=straight_through)
    results = []
    for execution in ('plain', 'fused'):
        net.execution = execution
        found = collect(net, image(2, 8))
        results.append(found)
    assert_same(*results[::-1])


@pytest.mark.parametrize('phase', ['weights', 'alpha'])
@pytest.mark.parametrize('name', SPACES)
def test_one_path_of_the_weights_and_two_of_alpha(name, phase):
    net = make(space_of(name), relaxation='rdarts.BinaryGates')
    with net.alpha_phase() if phase == 'alpha' else nullcontext():
        # of two images, a batch norm has 8 values, and makes rounding larger
        found = assert_executions_agree(net, image(4, 8), phase)
    assert any(key.startswith('arch_parameters') for key in found) == (phase == 'alpha')


def test_only_the_sampled_operation_runs(path, recorder):
    """Statistics of the others stay, their gradients are 0, and no kernel is called for them."""

    def ran():
        kernels = ('separable_forward', 'dense_forward', 'pool_forward', 'covariance')
        return [
            (name, len(args[2]) if name == 'separable_forward' else 1)
            for name, args in recorder.of(*kernels)
        ]

    names = ['sep_conv_3x3', 'nor_conv_3x3', 'max_pool_3x3', 'nor_conv_1x1', 'swish']
    mixed = make_mixed([names] * 3)
    mixed.execution = 'fused'
    before = {n: b.clone() for n, b in mixed.named_buffers()}
    calls = []
    for copy_ in mixed.operations['swish']:
        copy_.register_forward_hook(lambda *_: calls.append(1))
    weights = torch.zeros(3, 5, dtype=torch.float64)
    weights[0, 0], weights[1, 2], weights[2, 0] = 1.0, 1.0, 0.5
    weights.requires_grad_()
    outs = mixed.forward_edges(image(2, 6, 8), Mixing.of(weights, sampled=True))
    assert ran() == [('separable_forward', 2)] * 2 + [('pool_forward', 1)]
    assert not calls
    sum(loss_of(out) for out in outs).backward()
    ran_rows = {'sep_conv_3x3': [0, 2], 'max_pool_3x3': [1]}
    for name, buffer in mixed.named_buffers():
        if buffer.dim() != 2:
            continue
        moved = [row for row in range(3) if not torch.equal(buffer[row], before[name][row])]
        assert moved == ran_rows.get(name.split('.')[1], []), name
    for name, parameter in mixed.named_parameters():
        grad = parameter.grad
        if name.startswith('operations.sep_conv_3x3'):
            assert [bool(row.any()) for row in grad] == [True, False, True]
        else:
            assert grad is None or not grad.any()
    chosen = (weights != 0).detach()
    assert weights.grad[chosen].all() and not weights.grad[~chosen].any()
    # an operation of one's own runs where it is chosen, and an edge of zeros runs nothing
    weights = torch.zeros(3, 5, dtype=torch.float64)
    weights[0, 4] = 1.0
    recorder.calls.clear()
    outs = mixed.forward_edges(image(2, 6, 8), Mixing.of(weights, sampled=True))
    assert len(calls) == 1
    assert not ran()
    assert outs[0].any() and not outs[1].any() and not outs[2].any()


class Drawn(Relaxation):
    """What a test has drawn, with the gradient of the softmax."""

    sampled = True

    def forward(self, arch_parameters, space, phase):
        soft = {name: alpha.softmax(-1) for name, alpha in arch_parameters.items()}
        return {name: self.draw[name] + (p - p.detach()) for name, p in soft.items()}


def with_nothing_at_the_end(name: str, what: str) -> BaseSupernet:
    """A supernet whose last features hang on edges that run `none`, or no candidate at all."""
    RELAXATIONS.register_module(name='Drawn', module=Drawn)
    try:
        net = make(space_of(name), relaxation='rdarts.Drawn')
    finally:
        RELAXATIONS.module_dict.pop('Drawn')
    net.relaxation.draw = {}
    for group in net.space.groups:
        draw = torch.zeros(len(group.edges), len(group.candidates), dtype=torch.float64)
        edges = [net.space.cells[group.cell].edges[index] for index in group.edges]
        last = max(edge.target for edge in edges)
        for row, edge in enumerate(edges):
            if name == 'nas_bench_201' and edge.target != last:
                draw[row, group.candidates.index('nor_conv_3x3')] = 1.0
            elif what == 'none':
                draw[row, group.candidates.index('none')] = 1.0
        net.relaxation.draw[group.name] = draw
    return net


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'what'),
    [
        ('nas_bench_201', 'none'),
        ('nas_bench_201', 'nothing'),
        ('darts', 'none'),
        ('darts', 'nothing'),
        ('mobilenet_like', 'nothing'),
    ],
)
def test_where_nothing_runs_gradients_are_zeros(path, name, what):
    net = with_nothing_at_the_end(name, what)
    x = image(2, 8)
    for trainable in ('both', 'weights', 'alpha'):
        found = assert_executions_agree(net, x, trainable)
        assert not found['x.grad'].any()
        if trainable != 'weights':
            assert all(not found[f'arch_parameters.{g.name}.grad'].any() for g in net.space.groups)
    alphas = list(net.arch_parameters.values())
    weights = [p for p in net.parameters() if p.requires_grad]
    for execution in ('plain', 'fused'):
        net.execution = execution
        grads, loss = first_order(lambda: loss_of(net(x)[0]), alphas, weights)
        assert loss.isfinite()
        assert all(grad.shape == a.shape for grad, a in zip(grads, alphas, strict=True))
        assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_where_nothing_runs_in_bfloat16(path, execution, monkeypatch):
    monkeypatch.setattr(precision, 'compute_dtype', lambda x: torch.bfloat16)
    net = with_nothing_at_the_end('nas_bench_201', 'none').float()
    net.execution = execution
    net.relaxation.draw = {name: draw.float() for name, draw in net.relaxation.draw.items()}
    alphas = list(net.arch_parameters.values())

    def loss() -> Tensor:
        with torch.autocast('cpu', torch.bfloat16):
            return loss_of(net(image(2, 8).float())[0].float())

    grads, value = first_order(loss, alphas, [p for p in net.parameters() if p.requires_grad])
    assert value.isfinite() and not any(grad.any() for grad in grads)
    loss().backward()
    learning = [p.grad for n, p in net.named_parameters() if n.startswith(('stem', 'cells.1'))]
    assert learning and not any(grad.any() for grad in learning if grad is not None)
    assert net.lastact[0].bias.grad.any()
