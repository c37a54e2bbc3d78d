"""A cell's preprocessing as one function: the numbers of its layers, in every mode."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from rdarts.models.backbones import DARTSSupernet, NASBench201Supernet
from rdarts.models.fused import preprocess
from rdarts.models.kernels import precision, use_backend
from rdarts.models.kernels.backends import has_cpp
from rdarts.models.layers import FactorizedReduce, PlainLayers
from rdarts.models.operations import relu_conv_bn

pytestmark = pytest.mark.skipif(
    not has_cpp(), reason='the C++ operators are not there: no compiler'
)


@pytest.fixture
def fused(recorder):
    """The calls of what runs fused."""
    kernels = ('pointwise_forward', 'dense_forward')
    return lambda: [args for _, args in recorder.of(*kernels)]


def make_layers(kind, channels, outputs=24, dtype=torch.float64, **kwargs):
    torch.manual_seed(0)
    build = {'reduce': FactorizedReduce}.get(kind, relu_conv_bn)
    size = (1, 3) if kind == '3x3' else ()  # stride and kernel
    layers = build(PlainLayers(**kwargs), channels, outputs, *size).to(dtype)
    for parameter in layers.parameters():
        nn.init.normal_(parameter)
    for name, buffer in layers.named_buffers():
        if 'running' in name:
            buffer.uniform_(0.5, 2)
    return layers


def make_nodes(channels, size=(6, 6), batch=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(batch, count, *size, dtype=dtype, generator=generator)
        .to(memory_format=torch.channels_last)
        .requires_grad_()
        for count in channels
    ]


def assert_near(found, expected, tolerance=1e-12):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        one, other = one.detach().double(), other.detach().double()
        assert float((one - other).norm()) <= tolerance * float(other.norm())


@pytest.mark.parametrize(
    ('kind', 'outputs', 'channels'),
    [
        *(
            (kind, outputs, nodes)
            for kind, outputs in (('conv', 24), ('reduce', 16), ('reduce', 24))
            for nodes in ((16,), (8, 16, 8, 8), (24, 24))
        ),
        ('3x3', 24, (16,)),
        ('3x3', 24, (24,)),
    ],
)
@pytest.mark.parametrize('size', [(8, 8), (7, 5), (1, 3), (2, 2), (33, 1), (5, 70)])
@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('mode', ['train', 'eval', 'no running statistics'])
def test_it_is_what_the_layers_compute(fused, kind, outputs, channels, size, affine, mode):
    tracked = mode != 'no running statistics'
    ours = make_layers(kind, sum(channels), outputs, affine=affine, track_running_stats=tracked)
    ours.train(mode == 'train')
    plain = copy.deepcopy(ours)
    nodes = make_nodes(channels, size)
    found, expected = preprocess.preprocess(ours, nodes), plain(torch.cat(nodes, 1))
    assert len(fused()) == 1
    assert found.is_contiguous(memory_format=torch.channels_last)
    grad = torch.randn(found.shape, dtype=found.dtype)
    grads = [
        torch.autograd.grad(out, [*layers.parameters(), *nodes], grad)
        for out, layers in ((found, ours), (expected, plain))
    ]
    assert_near([found, *grads[0]], [expected, *grads[1]])
    assert_near([*ours.buffers()], [*plain.buffers()])


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['conv', 'reduce', '3x3'])
@pytest.mark.parametrize('train', [True, False])
def test_gradients_and_those_of_gradients(kind, train):
    channels = (8,) if kind == '3x3' else (8, 8)
    layers = make_layers(kind, sum(channels), 8 if kind == '3x3' else 16).train(train)
    nodes = make_nodes(channels, (3, 2), batch=2)
    names = [name for name, _ in layers.named_parameters()]

    def run(*tensors):
        parameters = [value.clone() for value in tensors[: len(names)]]
        with torch.nn.utils.stateless._reparametrize_module(
            layers, dict(zip(names, parameters, strict=True))
        ):
            return preprocess.preprocess(layers, tensors[len(names) :])

    inputs = [*(p.detach().clone().requires_grad_() for p in layers.parameters()), *nodes]
    assert gradcheck(run, inputs)
    assert gradgradcheck(run, inputs)


def test_gradients_of_gradients_where_one_node_follows_from_another():
    layers = make_layers('conv', 16, 16)
    (first,) = make_nodes((8,))
    found = []
    for run in (preprocess.preprocess, lambda layers, nodes: layers(torch.cat(nodes, 1))):
        out = run(layers, [first, first.sin() + layers[1].weight.sum()])
        inputs = [first, layers[1].weight]
        grads = torch.autograd.grad(out.pow(3).sum(), inputs, create_graph=True)
        again = torch.autograd.grad(sum(grad.pow(2).sum() for grad in grads), inputs)
        found.append([*grads, *again])
    assert_near(*found)


@pytest.mark.parametrize('kind', ['conv', '3x3'])
@pytest.mark.parametrize('frozen', ['weights', 'nodes'])
def test_gradients_that_are_not_wanted_are_not_asked_for(kind, frozen, recorder):
    layers = make_layers(kind, 16)
    nodes = make_nodes((16,) if kind == '3x3' else (8, 8))
    for tensor in layers.parameters() if frozen == 'weights' else nodes:
        tensor.requires_grad_(False)
    preprocess.preprocess(layers, nodes).sum().backward()
    if kind == '3x3':
        assert [args[-1] for _, args in recorder.of('dense_backward')] == [frozen == 'nodes']
        assert len(recorder.of('input_grad')) == (frozen == 'weights')
    else:
        wanted = [args[-2:] for _, args in recorder.of('pointwise_backward')]
        assert wanted == [(frozen == 'weights', frozen == 'nodes')]
    assert all((node.grad is None) == (frozen == 'nodes') for node in nodes)
    assert all((p.grad is None) == (frozen == 'weights') for p in layers.parameters())


def test_a_gradient_that_is_part_of_a_larger_one():
    layers, nodes = make_layers('conv', 16), make_nodes((8, 8))
    wide = torch.randn(3, 40, 6, 6, dtype=torch.float64).to(memory_format=torch.channels_last)
    found = torch.autograd.grad(preprocess.preprocess(layers, nodes), nodes, wide[:, 8:32])
    expected = torch.autograd.grad(layers(torch.cat(nodes, 1)), nodes, wide[:, 8:32].contiguous())
    assert_near(found, expected)


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def with_bias(layers):
    layers[1].bias = nn.Parameter(torch.ones(24, dtype=torch.float64))


def with_another_convolution(layers):
    layers[1].__class__ = Doubled


def with_cumulative_average(layers):
    layers[2].momentum = None


def with_a_border_that_goes_round(layers):
    layers[1] = nn.Conv2d(16, 24, 3, padding=1, bias=False, padding_mode='circular').double()


def with_wide_steps(layers):
    layers[1] = nn.Conv2d(16, 24, 3, padding=2, dilation=2, bias=False).double()


def with_a_larger_kernel(layers):
    layers[1] = nn.Conv2d(16, 24, 5, padding=2, bias=False).double()


def with_gelu(layers):
    layers[0] = nn.GELU()


def with_the_norm_of_pytorch(layers):
    layers[2] = nn.BatchNorm2d(24).double()


@pytest.mark.parametrize(
    'change',
    [
        with_bias,
        with_another_convolution,
        with_cumulative_average,
        with_a_border_that_goes_round,
        with_wide_steps,
        with_a_larger_kernel,
        with_gelu,
        with_the_norm_of_pytorch,
    ],
)
def test_other_layers_run_as_they_are(fused, change):
    layers, nodes = make_layers('conv', 16), make_nodes((8, 8))
    change(layers)
    plain = copy.deepcopy(layers)
    found = preprocess.preprocess(layers, nodes)
    assert torch.equal(found, plain(torch.cat(nodes, 1)))
    assert fused() == []


@pytest.mark.parametrize(('channels', 'outputs'), [((8, 12), 24), ((8, 8), 20)])
def test_channels_that_no_kernel_takes(fused, channels, outputs):
    layers, nodes = make_layers('conv', sum(channels), outputs), make_nodes(channels)
    assert preprocess.takes_nodes(nodes) == (channels == (8, 8))
    assert torch.equal(
        preprocess.preprocess(layers, nodes), copy.deepcopy(layers)(torch.cat(nodes, 1))
    )
    assert fused() == []


@pytest.mark.parametrize('kind', ['conv', 'reduce'])
def test_one_pixel_has_no_statistics(kind):
    layers = make_layers(kind, 8)
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        preprocess.preprocess(layers, make_nodes((8,), (1, 1), batch=1))
    out = preprocess.preprocess(layers.eval(), make_nodes((8,), (1, 1), batch=1))
    assert out.shape == (1, 24, 1, 1)


def test_autocast_computes_as_fused_does(fused):
    nodes = make_nodes((8, 8), dtype=torch.float32)
    layers = make_layers('conv', 16, dtype=torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        dtype = precision.compute_dtype(nodes[0])
        out = preprocess.preprocess(layers, nodes)
    assert out.dtype == dtype
    assert len(fused()) == (dtype == torch.float32)


@pytest.mark.parametrize('name', ['float64', 'float32'])
def test_a_supernet_runs_all_its_preprocessing_so(fused, name):
    torch.manual_seed(0)
    net = DARTSSupernet('s2', channels=8, num_cells=4).to(getattr(torch, name))
    x = torch.randn(2, 3, 8, 8, dtype=getattr(torch, name))
    (out,) = net(x)
    assert len(fused()) == 8
    assert sorted({len(images) for images, _ in fused()}) == [1, 4]
    assert out.shape == (2, net.out_channels, 2, 2)


def test_a_3x3_convolution_of_several_nodes_runs_as_it_is(fused):
    layers, nodes = make_layers('3x3', 16), make_nodes((8, 8))
    found = preprocess.preprocess(layers, nodes)
    assert torch.equal(found, copy.deepcopy(layers)(torch.cat(nodes, 1))) and fused() == []


@pytest.mark.parametrize('execution', ['fused', 'plain'])
def test_reductions_of_nas_bench_201_run_one_convolution_so(execution, recorder):
    torch.manual_seed(0)
    net = NASBench201Supernet(channels=8, cells_per_stage=1, execution='plain').double()
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    (expected,) = copy.deepcopy(net)(x)
    net.execution = execution
    (found,) = net(x)
    assert_near([found], [expected], 1e-10)
    single = [args for _, args in recorder.of('dense_forward') if args[1].shape[0] == 1]
    shapes = [tuple(image.shape) for image, *_ in single]
    # one of the supernet's own nodes has a single edge, too
    count = 2 if execution == 'fused' else 0
    assert shapes.count((2, 5, 4, 16)) == shapes.count((2, 3, 2, 32)) == count


def test_without_cpp_nodes_are_joined_once():
    torch.manual_seed(0)
    net = DARTSSupernet('s2', channels=8, num_cells=4).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    with use_backend('torch'):
        (found,) = net(x)
    net.execution = 'plain'
    assert_near([found], net(x), 1e-10)


def test_nan_stays():
    layers = make_layers('conv', 8).eval()
    nodes = make_nodes((8,))
    nodes[0].data[0, 0, 0, 0] = float('nan')
    out = preprocess.preprocess(layers, nodes)
    assert torch.equal(out.isnan(), layers(F.relu(nodes[0])).isnan())
    assert out.isnan().any()
