"""A search with fused, and what runs around a supernet: DDP, checkpointing, copies, a switch."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from ranks import on_ranks
from test_models.fused_nets import (
    assert_executions_agree,
    assert_same,
    collect,
    image,
    loss_of,
    make,
    space_of,
    two_input_table,
)
from test_models.fused_worker import build_net, ddp_worker, gradients
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rdarts.architect.architects.first_order import first_order
from rdarts.architect.regularizers import BatchEntropyDecay
from rdarts.models import BaseSupernet, DARTSSupernet, MixedOp, Mixing
from rdarts.models.backbones.search_cell import SearchCell
from rdarts.registry import DISCRETIZERS, build

pytestmark = pytest.mark.usefixtures('swish')


class OneCell(BaseSupernet):
    """Stem, one search cell, head."""

    def __init__(self, space, channels: int = 8, **kwargs) -> None:
        super().__init__(space, **kwargs)
        ((self.name, topology),) = self.space.cells.items()
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels))
        self.cell = SearchCell(self, topology, channels)
        self.head = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.image_format(x))
        nodes = self.cell([x], self.mixing()[self.name])
        return self.head(torch.cat(nodes, 1).mean((2, 3)))


def tiny_space(name: str):
    if name == 'nas_bench_201':
        return name
    edges = [
        (0, 1, ['sep_conv_3x3', 'noise']),
        (0, 2, ['skip_connect', 'max_pool_3x3', 'dil_conv_3x3']),
        (1, 2, ['sep_conv_3x3', 'noise', 'nor_conv_1x1']),
    ]
    cell = dict(num_nodes=3, edges=edges)
    return dict(type='CellSpace', name='tiny', cells=dict(cell=cell), discretizer='Argmax')


@functools.cache
def search(name: str, execution: str, backend: str, steps: int = 200):
    """First order, with BER, in float64: the genotype, alpha and weights."""
    torch.manual_seed(0)
    net = OneCell(tiny_space(name), execution=execution, alpha_std=1e-3).double()
    generator = torch.Generator().manual_seed(1)
    prototypes = torch.randn(10, 1, 8, 8, generator=generator, dtype=torch.float64)
    alphas = list(net.arch_parameters.values())
    weights = [p for p in net.parameters() if all(p is not alpha for alpha in alphas)]
    optimizer = torch.optim.SGD(weights, lr=0.05, momentum=0.9, weight_decay=3e-4)
    arch_optimizer = torch.optim.Adam(alphas, lr=3e-3, betas=(0.5, 0.999))
    ber = BatchEntropyDecay()

    def loss() -> Tensor:
        labels = torch.randint(10, (8,), generator=generator)
        noise = torch.randn(8, 1, 8, 8, generator=generator, dtype=torch.float64)
        return nn.functional.cross_entropy(net(prototypes[labels] + 0.7 * noise), labels)

    losses = []
    for step in range(steps):
        penalty = step / steps

        def val_loss(penalty=penalty) -> Tensor:
            with net.alpha_phase():
                return loss() + penalty * ber(net.arch_parameters, net.space)

        grads, _ = first_order(val_loss, alphas, weights)
        for alpha, grad in zip(alphas, grads, strict=True):
            alpha.grad = grad
        arch_optimizer.step()
        optimizer.zero_grad()
        found = loss()
        found.backward()
        optimizer.step()
        losses.append(found.item())
    rule = build(net.space.discretizer, DISCRETIZERS)
    genotype = str(rule(net.arch_parameters, net.space))
    return genotype, torch.cat([a.detach().flatten() for a in alphas]), losses


@pytest.mark.slow
@pytest.mark.parametrize('name', ['nas_bench_201', 'tiny'])
def test_a_search_ends_at_the_same_place(path, name):
    genotype, alphas, losses = search(name, 'plain', 'cpp')
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])
    assert alphas.abs().max() > 0.1
    found_genotype, found, _ = search(name, 'fused', path)
    assert found_genotype == genotype
    assert (found - alphas).abs().max() <= 1e-8


# Distribution, checkpoints, copies


@pytest.mark.slow
def test_ddp(path):
    net, x = build_net()
    net.execution = 'plain'
    halves = [gradients(net, half) for half in x.chunk(2)]
    expected = [(one + other) / 2 for one, other in zip(*halves, strict=True)]
    results = on_ranks(ddp_worker, path)
    assert results[0] == results[1]
    grads, messages = results[0]
    assert messages == 1
    for grad, one in zip(grads, expected, strict=True):
        assert (torch.tensor(grad, dtype=torch.float64) - one).norm() <= 1e-10 * one.norm()


@pytest.mark.parametrize('reentrant', [True, False])
@pytest.mark.parametrize('name', ['nas_bench_201', 's4', 'one_input'])
def test_activation_checkpointing(path, name, reentrant):
    """Around every cell; the noise is drawn again as it was."""
    net = make(space_of(name))
    net.execution = 'plain'
    x = image(4, 9)
    expected = collect(net, x)
    net.execution = 'fused'
    calls = []

    def wrap(cell: SearchCell) -> None:
        forward = cell.forward

        def checkpointed(inputs, mixing):
            def run(*tensors):
                calls.append(1)
                count = len(inputs)
                told = zip(mixing, map(Mixing, tensors[count:]), strict=True)
                return tuple(forward(tensors[:count], dict(told)))

            weights = [one.weights for one in mixing.values()]
            return checkpoint(run, *inputs, *weights, use_reentrant=reentrant)

        cell.forward = checkpointed

    net = copy.deepcopy(net)
    for cell in net.cells:
        if isinstance(cell, SearchCell):
            wrap(cell)
    x = x.clone().requires_grad_()
    for parameter in net.parameters():
        parameter.requires_grad_()
    torch.manual_seed(3)
    (out,) = net(x)
    loss_of(out).backward()
    assert len(calls) == 2 * sum(isinstance(cell, SearchCell) for cell in net.cells)
    found = {'out': out.detach(), 'x.grad': x.grad}
    found.update({f'{n}.grad': p.grad for n, p in net.named_parameters() if p.grad is not None})
    moved = {name for name, _ in net.named_buffers()}  # twice, as plain's would be
    assert_same(found, {n: t for n, t in expected.items() if n not in moved})


@pytest.mark.slow
def test_copies_and_state_dicts(path, tmp_path):
    net = make('s1')
    x = image(2, 8)
    net.execution = 'plain'
    expected = collect(net, x)
    state = copy.deepcopy(net.state_dict())
    net.execution = 'fused'
    assert list(net.state_dict()) == list(state)
    collect(net, x)
    with torch.no_grad():
        net(x)  # plans are made
    net.load_state_dict(state)
    torch.save(net.state_dict(), tmp_path / 'state.pt')
    torch.save(net, tmp_path / 'net.pt')
    fresh = DARTSSupernet('s1', channels=8, num_cells=3).double()
    fresh.load_state_dict(torch.load(tmp_path / 'state.pt'))
    whole = torch.load(tmp_path / 'net.pt', weights_only=False)
    for twin in (fresh, whole, copy.deepcopy(net)):
        assert twin.runs_fused
        assert_same(collect(twin, x), expected)
    # a copy's weights are its own
    twin = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert_same(collect(net, x), expected)


def test_switching_back_and_forth(path):
    net = make(two_input_table())
    assert_executions_agree(net, image(2, 8))
    assert_executions_agree(net, image(3, 9))
    ops = [module for module in net.modules() if isinstance(module, MixedOp)]
    for execution in ('plain', 'fused', 'plain'):
        net.execution = execution
        assert {op.execution for op in ops} == {execution}
    # one forward in either execution, backward after a switch
    expected = collect(net, image(2, 8))
    net.execution = 'fused'
    x = image(2, 8).requires_grad_()
    torch.manual_seed(3)
    (out,) = net(x)
    net.execution = 'plain'
    net.eval()
    loss_of(out).backward()
    assert (x.grad - expected['x.grad']).norm() <= 1e-10 * x.grad.norm()


def test_inference(path):
    net = make('darts').eval()
    results = []
    for execution in ('plain', 'fused'):
        net.execution = execution
        before = copy.deepcopy(net.state_dict())
        with torch.no_grad():
            first = net(image(2, 8))[0]
        with torch.inference_mode():
            second = net(image(2, 8))[0]
        assert not first.requires_grad
        assert torch.equal(first, second)
        assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
        results.append(first)
    assert (results[1] - results[0]).norm() <= 1e-10 * results[0].norm()
