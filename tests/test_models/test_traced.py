"""PyTorch's tools over a supernet in fused execution: the flop counter, export, compile."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from test_models.kernel_calls import operator_calls
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from rdarts.models import DARTSSupernet, MobileNetLikeSupernet, NASBench201Supernet
from rdarts.models.kernels.backends import fake, flops, get_backend, has_cpp, use_backend

# one edge with a candidate of each way: folded, dense, separable, pooled, and the image itself
NAMES = ['nor_conv_1x1', 'nor_conv_3x3', 'sep_conv_3x3', 'avg_pool_3x3', 'skip_connect']


def tiny_net() -> NASBench201Supernet:
    torch.manual_seed(0)
    cells = dict(only=dict(num_nodes=2, edges=[(0, 1, NAMES)]))
    space = dict(type='CellSpace', name='tiny', cells=cells)
    return NASBench201Supernet(space, channels=8, cells_per_stage=1, alpha_std=0.1).eval()


def counted(net: nn.Module, x: Tensor, backward: bool = False) -> int:
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    x = x.clone().requires_grad_()
    with FlopCounterMode(display=False) as counter:
        (out,) = net(x)
        if backward:  # of images alone, as in a step of alpha
            out.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ('name', 'backward'),
    [('darts', False), ('darts', True), ('mobilenet_like', False), ('mobilenet_like', True)],
)
def test_fused_is_counted_as_plain_is(path, name, backward):
    torch.manual_seed(0)
    if name == 'darts':
        net = DARTSSupernet(channels=8, num_cells=2)
    else:
        space = dict(type='mobilenet_like', widths=(8, 8), depths=(1, 2), strides=(2, 1))
        sizes = dict(stem_channels=8, first_channels=8, last_channels=8, stem='cifar')
        net = MobileNetLikeSupernet(space, **sizes)
    x = torch.randn(2, 3, 8, 8)
    found = counted(net, x, backward)
    net.execution = 'plain'
    expected = counted(net, x, backward)
    # of layers, batch statistics take products of weights, whatever the number of pixels
    most = 1.02 * expected if name == 'mobilenet_like' and backward else expected
    assert 0 < expected <= found <= most


def test_what_folds_is_counted_as_it_is_computed():
    """A 1x1 convolution that folds is a product for each edge, and one for the statistics."""
    net, x = tiny_net(), torch.randn(2, 3, 8, 8)
    counts = []
    for name in ('cpp', 'torch'):
        with use_backend(name):
            counts.append(counted(net, x))
    assert counts[0] == counts[1]
    net.execution = 'plain'
    # of the three stages' cells: the covariance S, C C a pixel, and W S
    extra = sum(2 * (2 * pixels + c) * c * c for pixels, c in ((64, 8), (16, 16), (4, 32)))
    assert counts[0] == counted(net, x) + extra


@pytest.mark.slow
def test_export(path):
    net, x = tiny_net(), torch.randn(2, 3, 8, 8)
    (expected,) = net(x)
    program = torch.export.export(net, (x,), strict=False)
    (found,) = program.module()(x)
    assert torch.equal(found, expected)
    operators = {
        str(node.target)
        for module in program.graph_module.modules()
        if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes
    }
    assert any(name.startswith('rdarts.') for name in operators) is (path == 'cpp')


@pytest.fixture
def compiled_no_more() -> Iterator[None]:
    """What a test has compiled is nothing to the next one."""
    yield
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.usefixtures('compiled_no_more')
@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_compile(path, mode):
    net, x = tiny_net().train(mode == 'train'), torch.randn(2, 3, 8, 8)
    twin = copy.deepcopy(net)
    results = []
    for run, model in ((net, net), (torch.compile(twin, backend='aot_eager'), twin)):
        for parameter in model.parameters():
            parameter.requires_grad_()
        (out,) = run(x)
        out.square().sum().backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        results.append([out.detach(), *grads, *model.buffers()])
    assert len(results[0]) > 20
    for expected, found in zip(*results, strict=True):
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not has_cpp(), reason='the C++ operators are not there: no compiler')
def test_every_operator_has_a_fake_kernel():
    names = {
        name.split('::')[1]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith('rdarts::') and name != 'rdarts::release_memory'  # of no tensor
    }
    assert {kernel.__name__ for kernel in fake.KERNELS} == names
    assert set(flops.formulas()) < names
    assert operator_calls().keys() == names


def form(found: Any) -> tuple[Any, list[Any]]:
    """The structure of results, and of each tensor its type, sizes and strides."""
    leaves, structure = tree_flatten(found)
    return structure, [_of_tensor(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]


def _of_tensor(tensor: Tensor) -> tuple[Any, ...]:
    pairs = zip(tensor.stride(), tensor.shape, strict=True)
    return tensor.dtype, tuple(tensor.shape), [hop for hop, size in pairs if size > 1]


@pytest.mark.skipif(not has_cpp(), reason='the C++ operators are not there: no compiler')
@pytest.mark.parametrize('name', [kernel.__name__ for kernel in fake.KERNELS])
def test_fake_kernels_give_what_the_operators_give(name):
    operator = getattr(torch.ops.rdarts, name)
    for args in operator_calls()[name]:
        with FakeTensorMode() as mode:
            expected = form(operator(*tree_map_only(Tensor, mode.from_tensor, args)))
        assert form(operator(*args)) == expected


@pytest.mark.skipif(not has_cpp(), reason='the C++ operators are not there: no compiler')
def test_channels_that_vectors_do_not_hold_are_refused():
    x, taps = torch.randn(1, 4, 4, 12), torch.randn(1, 12, 1, 3, 3)
    backend, points = get_backend('cpp'), torch.randn(1, 8, 12, 1, 1)
    for run in (
        lambda: backend.separable_forward(x, None, taps, points, (1, 1, 1)),
        lambda: backend.moments(x),
        lambda: backend.pool_forward(x, True, 1),
        lambda: backend.expand_forward(x, torch.randn(1, 16, 12)),
    ):
        with pytest.raises(RuntimeError, match='12 channels are no multiple of 8'):
            run()
