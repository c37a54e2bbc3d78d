"""Candidate operations: the plain and the stacked form, their start, their shapes."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rdarts.errors import UserError
from rdarts.models.kernels import standard_normal
from rdarts.models.layers import (
    EdgeCopies,
    PlainLayers,
    StackedBatchNorm2d,
    StackedConv2d,
    StackedLayers,
)
from rdarts.models.operations import build_operation
from rdarts.registry import OPERATIONS, lookup

lookup('none', OPERATIONS)  # registers them
BUILT_IN = sorted(OPERATIONS.module_dict)


class Scale(nn.Module):
    """An operation of one's own: no builder, an ordinary module."""

    def __init__(self, in_channels, out_channels, stride, start=1.0):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride)
        self.factor = nn.Parameter(torch.full((1,), start))

    def forward(self, x):
        return self.factor * self.conv(x)


@pytest.fixture
def scale():
    OPERATIONS.register_module(name='scale', module=Scale)
    yield Scale
    OPERATIONS.module_dict.pop('scale')


def plain_and_stacked(name, edges, in_channels, out_channels, stride, affine):
    """The stacked operation, and one plain one an edge with the same weights, in float64."""
    torch.manual_seed(3)
    make = StackedLayers(edges, affine=affine)
    stacked = build_operation(name, make, in_channels, out_channels, stride).double()
    for parameter in stacked.parameters():  # affine weights of 1 and biases of 0 hide mistakes
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    plains = []
    for edge in range(edges):
        plain = build_operation(
            name, PlainLayers(affine=affine), in_channels, out_channels, stride
        ).double()
        rows = {key: value[edge].clone() for key, value in stacked.state_dict().items()}
        result = plain.load_state_dict(rows, strict=False)
        assert not result.unexpected_keys
        assert all(key.endswith('num_batches_tracked') for key in result.missing_keys)
        plains.append(plain)
    return stacked, plains


@pytest.mark.parametrize('affine', [False, True])
@pytest.mark.parametrize(('in_channels', 'out_channels'), [(4, 4), (4, 6)])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('name', BUILT_IN)
def test_the_stacked_form_is_the_plain_one(name, stride, in_channels, out_channels, affine):
    stacked, plains = plain_and_stacked(name, 3, in_channels, out_channels, stride, affine)
    x = torch.randn(5, in_channels, 9, 8, dtype=torch.float64)
    functions = stacked.unbind()
    assert len(functions) == 3
    for edge, (function, plain) in enumerate(zip(functions, plains, strict=True)):
        left, right = x.clone().requires_grad_(), x.clone().requires_grad_()
        torch.manual_seed(edge)
        out = function(left)
        torch.manual_seed(edge)
        expected = plain(right)
        assert out.shape == (5, out_channels, -(-9 // stride), -(-8 // stride))
        assert torch.equal(out, expected)
        if not out.requires_grad:  # none and noise know no input
            assert name in ('none', 'noise') and not list(plain.parameters())
            continue
        gradient = torch.randn_like(out)
        stacked.zero_grad()
        out.backward(gradient, retain_graph=True)
        expected.backward(gradient)
        assert torch.equal(left.grad, right.grad)
        own = dict(plain.named_parameters())
        assert set(own) == {key for key, _ in stacked.named_parameters()}
        for key, parameter in stacked.named_parameters():
            assert torch.equal(parameter.grad[edge], own[key].grad)
            others = [i for i in range(3) if i != edge]
            assert not parameter.grad[others].any()
        for key, buffer in stacked.named_buffers():
            assert torch.equal(buffer[edge], plain.state_dict()[key])


@pytest.mark.parametrize('name', BUILT_IN)
def test_evaluation_uses_the_running_statistics_of_the_edge(name):
    stacked, plains = plain_and_stacked(name, 2, 4, 4, 2, affine=False)
    x = torch.randn(4, 4, 8, 8, dtype=torch.float64)
    for module in (stacked, *plains):
        module.eval()
    for key, buffer in stacked.named_buffers():
        buffer.copy_(torch.rand_like(buffer) + 0.5)
        for edge, plain in enumerate(plains):
            plain.get_buffer(key).copy_(buffer[edge])
    before = {key: value.clone() for key, value in stacked.state_dict().items()}
    for edge, function in enumerate(stacked.unbind()):
        torch.manual_seed(0)
        out = function(x)
        torch.manual_seed(0)
        assert torch.equal(out, plains[edge](x))
    assert all(torch.equal(before[key], value) for key, value in stacked.state_dict().items())


@pytest.mark.parametrize(
    ('kernel', 'groups'), [(1, 1), (3, 1), (5, 8), ((1, 7), 1)], ids=['1', '3', 'dw5', '1x7']
)
def test_each_slice_starts_as_a_separate_convolution(kernel, groups):
    torch.manual_seed(11)
    stacked = StackedConv2d(3, 8, 8, kernel, groups=groups)
    torch.manual_seed(11)
    for weight in stacked.weight:
        assert torch.equal(weight, nn.Conv2d(8, 8, kernel, groups=groups, bias=False).weight)


def test_a_stacked_operation_starts_as_separate_ones():
    torch.manual_seed(5)
    stacked = build_operation('dil_conv_3x3', StackedLayers(2), 4, 4)
    torch.manual_seed(5)
    depthwise = [nn.Conv2d(4, 4, 3, groups=4, bias=False).weight for _ in range(2)]
    pointwise = [nn.Conv2d(4, 4, 1, bias=False).weight for _ in range(2)]
    assert torch.equal(stacked[1].weight, torch.stack(depthwise))
    assert torch.equal(stacked[2].weight, torch.stack(pointwise))


def test_batch_norm_without_running_statistics():
    norm = StackedBatchNorm2d(2, 3, affine=False, track_running_stats=False).eval()
    x = torch.randn(4, 3, 5, 5)
    assert not norm.state_dict()
    for function in norm.unbind():
        assert torch.equal(function(x), F.batch_norm(x, None, None, training=True))


def test_average_pooling_does_not_count_the_padding():
    pool = build_operation('avg_pool_3x3', PlainLayers(), 1, 1, norm=False)
    out = pool(torch.ones(1, 1, 4, 4))
    assert torch.equal(out, torch.ones(1, 1, 4, 4))


def test_pooling_has_a_batch_norm_unless_told_otherwise():
    for name in ('avg_pool_3x3', 'max_pool_3x3'):
        modules = build_operation(name, PlainLayers(), 4, 4).modules()
        assert sum(isinstance(m, nn.BatchNorm2d) for m in modules) == 1
        bare = build_operation(name, PlainLayers(), 4, 4, norm=False)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in bare.modules())


def test_the_factorised_reduction_reads_both_phases():
    skip = build_operation('skip_connect', PlainLayers(affine=False), 2, 4, 2).eval()
    for conv in (skip.conv_1, skip.conv_2):
        nn.init.ones_(conv.weight)
    x = torch.arange(32.0).view(1, 2, 4, 4)
    out = skip(x) * (1 + 1e-5) ** 0.5
    sums = x.sum(1)
    torch.testing.assert_close(out[0, 0], sums[0, ::2, ::2])
    torch.testing.assert_close(out[0, 3], sums[0, 1::2, 1::2])


@pytest.mark.parametrize(('kernel', 'dilation'), [(3, 1), (5, 1), (7, 1), (3, 2), (5, 2), (7, 2)])
def test_receptive_fields(kernel, dilation):
    name = f'{"sep" if dilation == 1 else "dil"}_conv_{kernel}x{kernel}'
    op = build_operation(name, PlainLayers(), 1, 1).eval()
    for parameter in op.parameters():
        nn.init.ones_(parameter)
    x = torch.ones(1, 1, 31, 31, requires_grad=True)
    op(x)[0, 0, 15, 15].backward()
    reach = 2 * (kernel // 2) if dilation == 1 else dilation * (kernel // 2)
    touched = torch.nonzero(x.grad[0, 0])
    assert touched.min() == 15 - reach and touched.max() == 15 + reach
    count = (2 * reach + 1) ** 2 if dilation == 1 else kernel**2
    assert len(touched) == count


def test_noise_ignores_its_input_and_follows_the_generator():
    noise = build_operation('noise', PlainLayers(), 2, 3, 2)
    torch.manual_seed(0)
    out = noise(torch.full((4, 2, 7, 7), float('nan')))
    torch.manual_seed(0)
    pixels = standard_normal(torch.empty(4, 4, 4, 3))  # [N, h, w, C]
    assert torch.equal(out, pixels.permute(0, 3, 1, 2))
    assert not torch.equal(out, noise(torch.zeros(4, 2, 7, 7)))


def test_none_is_zero():
    out = build_operation('none', PlainLayers(), 2, 3, 2)(torch.ones(4, 2, 7, 6))
    assert torch.equal(out, torch.zeros(4, 3, 4, 3))


def test_an_unknown_operation():
    with pytest.raises(UserError, match="unknown operation 'sep_conv_3': did you mean 'sep_conv_"):
        build_operation('sep_conv_3', PlainLayers(), 2, 2)


def test_a_module_of_ones_own_is_copied_for_each_edge(scale):
    torch.manual_seed(1)
    stacked = build_operation('scale', StackedLayers(2), 3, 4, 2, start=2.0)
    torch.manual_seed(1)
    separate = [Scale(3, 4, 2, start=2.0) for _ in range(2)]
    assert isinstance(stacked, EdgeCopies)
    x = torch.randn(2, 3, 6, 6)
    for function, module in zip(stacked.unbind(), separate, strict=True):
        assert torch.equal(function(x), module(x))
    assert isinstance(build_operation('scale', PlainLayers(), 3, 4), Scale)


@pytest.mark.parametrize('make', [PlainLayers(), StackedLayers(1)], ids=['plain', 'stacked'])
@pytest.mark.parametrize('kernel', [3, 5, 7])
def test_dilated_convolutions_in_bfloat16_in_channels_last(kernel, make):
    torch.manual_seed(0)
    conv = make.conv(8, 8, kernel, padding=kernel - 1, dilation=2, groups=8)
    x, direction = torch.randn(2, 2, 8, 32, 32).unbind(0)  # wrong in oneDNN from 29 pixels on

    def gradients(conv, x, amp):
        x = x.requires_grad_()
        run = conv if type(make) is PlainLayers else conv.unbind()[0]
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            out = run(x)
        assert out.dtype == (torch.bfloat16 if amp else torch.float64)
        return torch.autograd.grad((out * direction).sum(), [x, conv.weight])

    exact = gradients(copy.deepcopy(conv).double(), x.double(), False)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        found = gradients(conv, x.detach().contiguous(memory_format=memory_format), True)
        for one, other in zip(found, exact, strict=True):
            assert one.dtype == torch.float32
            assert (one - other).norm() < 4e-3 * other.norm()  # bfloat16's half digit is 2^-9
