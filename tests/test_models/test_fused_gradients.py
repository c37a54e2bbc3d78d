"""The gradients of fused: by finite differences, twice, of some parameters only, and in place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from test_models.fused_nets import (
    FUSED,
    assert_same,
    image,
    loss_of,
    make,
    make_mixed,
    one_input_table,
)
from torch import Tensor, nn

from rdarts.architect.architects.unrolled import unrolled
from rdarts.models import BaseSupernet, MixedOp
from rdarts.models.mixed_ops.mixing import Mixing

pytestmark = pytest.mark.usefixtures('swish')


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['train', 'eval'])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('name', [*(n for n in FUSED if n != 'noise'), 'all', 'two edges'])
def test_gradcheck(path, name, stride, mode):
    candidates = {
        'all': [[n for n in FUSED if n != 'noise']],
        'two edges': [['none', 'nor_conv_1x1', 'sep_conv_3x3'], ['sep_conv_3x3', 'skip_connect']],
    }.get(name, [[name]])
    mixed = make_mixed(candidates, stride=stride, mode=mode, affine=True)
    mixed.execution = 'fused'
    names = [n for n, _ in mixed.named_parameters()]
    state = {n: b.clone() for n, b in mixed.named_buffers()}
    generator = torch.Generator().manual_seed(4)
    betas = [
        torch.randn(len(edge), generator=generator, dtype=torch.float64).requires_grad_()
        for edge in candidates
    ]

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(names, rest[len(betas) :], strict=True))
        buffers = {n: b.clone() for n, b in state.items()}
        tensors = {f'mixed.{n}': tensor for n, tensor in {**given, **buffers}.items()}
        return torch.func.functional_call(Edges(mixed), tensors, (x, rest[: len(betas)]))

    x = image(2, (3, 4), 8).requires_grad_()
    parameters = [p.detach().clone().requires_grad_() for p in mixed.parameters()]
    assert torch.autograd.gradcheck(run, (x, *betas, *parameters), fast_mode=True)


class Edges(nn.Module):
    """``forward_edges`` as a forward."""

    def __init__(self, mixed: MixedOp) -> None:
        super().__init__()
        self.mixed = mixed

    def forward(self, x: Tensor, betas: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(self.mixed.forward_edges(x, Mixing.of(betas)))


# Gradients of gradients


def loss_functions(net: BaseSupernet, size: int = 8) -> tuple[Callable, Callable]:
    batches = [image(2, size, seed=seed) for seed in (10, 11)]
    return tuple(lambda x=x: loss_of(net(x)[0].tanh()) for x in batches)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['nas_bench_201', 's4', 'darts', 'mobilenet_like'])
def test_unrolled_by_autograd(path, name, told):
    results = []
    for execution in ('plain', 'fused'):
        net = make(name)
        net.execution = execution
        alphas = list(net.arch_parameters.values())
        weights = [p for p in net.parameters() if all(p is not alpha for alpha in alphas)]
        optimizer = torch.optim.SGD(weights, lr=0.05, momentum=0.9, weight_decay=3e-4)
        torch.manual_seed(9)
        grads, loss = unrolled(
            *loss_functions(net), alphas, weights, optimizer, list(net.buffers()), 'autograd'
        )
        results.append([*grads, loss])
    assert all(grad.norm() > 0 for grad in results[0])
    for expected, found in zip(*results, strict=True):
        assert (found - expected).norm() <= 1e-10 * expected.norm()
    assert len(told) == 1
    assert told[0].startswith('gradients of gradients: plain runs for them')


@pytest.mark.parametrize('mode', ['train', 'eval', 'frozen'])
def test_a_product_with_the_hessian(path, mode):
    """Of alpha and weights together, by two calls of autograd; running statistics move once.

    Where batch norms are frozen in a net that trains, they stay so.
    """
    results = []
    for execution in ('plain', 'fused'):
        net = make(one_input_table(), affine=True).train(mode != 'eval')
        if mode == 'frozen':
            for module in net.modules():
                module.train('BatchNorm' not in type(module).__name__)
        modes = {name: module.training for name, module in net.named_modules()}
        net.execution = execution
        parameters = [p.requires_grad_() for p in net.parameters()]
        torch.manual_seed(9)
        loss = loss_functions(net)[0]()
        grads = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        pairs = zip(grads, parameters, strict=True)
        grads = [torch.zeros_like(p) if g is None else g for g, p in pairs]
        generator = torch.Generator().manual_seed(8)
        vector = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
        products = torch.autograd.grad(
            sum((g * v).sum() for g, v in zip(grads, vector, strict=True)),
            parameters,
            allow_unused=True,
        )
        pairs = zip(products, parameters, strict=True)
        products = [torch.zeros_like(p) if g is None else g for g, p in pairs]
        assert modes == {name: module.training for name, module in net.named_modules()}
        results.append([*products, *grads, *(b.double() for b in net.buffers())])
    assert len(results[0]) == len(results[1])
    scale = max(t.norm() for t in results[0])
    for expected, found in zip(*results, strict=True):
        assert (found - expected).norm() <= 1e-10 * expected.norm() + 1e-13 * scale


@pytest.mark.parametrize('candidates', [[['none'], ['nor_conv_1x1']], [['none']], [['swish']]])
def test_a_second_derivative_where_an_edge_runs_nothing(path, candidates):
    results = []
    for execution in ('plain', 'fused'):
        mixed = make_mixed(candidates)
        mixed.execution = execution
        x = image(2, 4, 8).requires_grad_()
        betas = [torch.full((1,), 0.5, dtype=torch.float64).requires_grad_() for _ in candidates]
        outs = mixed.forward_edges(x, Mixing.of(betas))
        loss = sum(loss_of(out + x) for out in outs)
        grads = torch.autograd.grad(loss, [x, *betas], create_graph=True, allow_unused=True)
        grads = [grad for grad in grads if grad is not None]
        results.append(torch.autograd.grad(sum(g.square().sum() for g in grads), x)[0])
    assert (results[1] - results[0]).norm() <= 1e-10 * results[0].norm()


# More than one backward, and a part of the parameters


def test_backward_twice_and_accumulation(path):
    net = make('nas_bench_201')
    net.execution = 'fused'
    for parameter in net.parameters():
        parameter.requires_grad_()
    loss = loss_of(net(image(2, 8))[0])
    parameters = list(net.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    kept = [grad.clone() for grad in first]
    loss.backward(retain_graph=True)
    loss.backward()
    for one, before, parameter in zip(first, kept, parameters, strict=True):
        assert torch.equal(one, before)
        assert (parameter.grad - 2 * before).norm() <= 1e-12 * before.norm()
    with pytest.raises(RuntimeError, match='backward through the graph a second time'):
        loss.backward()
    loss_of(net(image(3, 8, seed=5))[0]).backward()
    net.zero_grad()
    total = [torch.zeros_like(p) for p in parameters]
    net.eval()
    for seed in (6, 7):
        loss = loss_of(net(image(2, 8, seed=seed))[0])
        for t, grad in zip(total, torch.autograd.grad(loss, parameters), strict=True):
            t += grad
        loss_of(net(image(2, 8, seed=seed))[0]).backward()
    for t, parameter in zip(total, parameters, strict=True):
        assert (parameter.grad - t).norm() <= 1e-12 * t.norm()


def test_gradients_of_some_parameters_only(path):
    net = make('darts')
    results = []
    for execution in ('plain', 'fused'):
        net.execution = execution
        twin = copy.deepcopy(net)
        chosen = [p for i, (_, p) in enumerate(twin.named_parameters()) if i % 3 == 0]
        for parameter in twin.parameters():
            parameter.requires_grad_(False)
        for parameter in chosen:
            parameter.requires_grad_()
        loss_of(twin(image(2, 8))[0]).backward()
        results.append(
            {f'{n}.grad': p.grad for n, p in twin.named_parameters() if p.grad is not None}
        )
    assert len(results[0]) == len(chosen)
    assert_same(*results[::-1])


# Adding in place


def test_what_is_added_to_is_written_over_where_it_may_be(path):
    mixed = make_mixed([['nor_conv_3x3', 'skip_connect'], ['skip_connect']])
    mixed.execution = 'fused'
    x = image(2, 6, 8)
    before = x.clone()
    weights = [torch.tensor(w, dtype=torch.float64) for w in ([0.5, 2.0], [3.0])]
    alone = mixed.forward_edges(x, Mixing.of(weights))
    assert torch.equal(x, before)
    held = image(2, 6, 8, seed=4).contiguous(memory_format=torch.channels_last)
    expected = held.clone() + alone[1]
    outs = mixed.forward_edges(x, Mixing.of(weights), [None, held])
    assert outs[1].data_ptr() == held.data_ptr()
    assert (outs[1] - expected).abs().max() < 1e-12
    assert (outs[0] - alone[0]).abs().max() < 1e-12
    # another memory format or type, and a leaf that learns, stay as they are
    for held in (
        image(2, 6, 8, seed=4),
        image(2, 6, 8, seed=4).contiguous(memory_format=torch.channels_last).requires_grad_(),
        image(2, 6, 8, seed=4).float().contiguous(memory_format=torch.channels_last),
    ):
        kept = held.detach().clone()
        outs = mixed.forward_edges(x, Mixing.of(weights), [None, held])
        assert torch.equal(held, kept)
        assert (outs[1] - kept - alone[1]).abs().max() < 1e-12


def test_autograd_sees_what_is_written_over(path):
    """A tensor that a backward needs and that is added to is refused, not silently wrong."""
    mixed = make_mixed([['nor_conv_3x3', 'skip_connect']])
    mixed.execution = 'fused'
    weights = [torch.ones(2, dtype=torch.float64)]
    x = image(2, 6, 8).requires_grad_()
    (first,) = mixed.forward_edges(x, Mixing.of(weights))
    version = first._version
    square = first.square()
    (second,) = mixed.forward_edges(image(2, 6, 8, seed=3), Mixing.of(weights), [first])
    assert second._version > version
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        square.sum().backward()
    # and its own input
    (held,) = mixed.forward_edges(x, Mixing.of(weights))
    (outer,) = mixed.forward_edges(held, Mixing.of(weights))
    mixed.forward_edges(image(2, 6, 8, seed=3), Mixing.of(weights), [held])
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        outer.sum().backward()
