"""The supernets: golden sizes, alpha, any input, and an independent edge-by-edge reference."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rdarts.errors import UserError
from rdarts.models import (
    BaseSupernet,
    DARTSSupernet,
    NASBench201Supernet,
)
from rdarts.models.kernels import standard_normal, to_nchw


def weight_count(supernet: BaseSupernet) -> int:
    total = sum(p.numel() for p in supernet.parameters())
    return total - sum(p.numel() for p in supernet.arch_parameters.values())


# Published sizes


@pytest.mark.parametrize(
    ('supernet', 'expected'), [(DARTSSupernet, 1_930_618), (NASBench201Supernet, 1_686_106)]
)
def test_parameters_with_a_head_of_ten_classes(supernet, expected):
    net = supernet()
    head = nn.Linear(net.out_channels, 10)
    assert weight_count(net) + sum(p.numel() for p in head.parameters()) == expected


def test_the_defaults_have_the_published_form():
    darts = DARTSSupernet(channels=4)
    assert (
        darts.cell_types
        == ['normal', 'normal', 'reduce', 'normal', 'normal', 'reduce'] + ['normal'] * 2
    )
    assert darts.out_channels == 64
    assert len(NASBench201Supernet(channels=2).cells) == 17
    biases = [k for net in (darts,) for k, _ in net.cells.named_parameters() if k.endswith('bias')]
    assert biases == []


# Alpha


@pytest.mark.parametrize(
    ('space', 'shapes'),
    [
        ('darts', {'normal': (14, 8), 'reduce': (14, 8)}),
        ('s2', {'normal': (14, 2), 'reduce': (14, 2)}),
        ('s3', {'normal': (14, 3), 'reduce': (14, 3)}),
        ('s4', {'normal': (14, 2), 'reduce': (14, 2)}),
    ],
)
def test_shapes_of_alpha(space, shapes):
    net = DARTSSupernet(space, channels=2, num_cells=3)
    assert {k: tuple(a.shape) for k, a in net.arch_parameters.items()} == shapes


def test_alpha_of_s1_has_a_tensor_for_each_candidate_list():
    net = DARTSSupernet('s1', channels=2, num_cells=3)
    assert len(net.arch_parameters) == 10
    assert sum(a.shape[0] for a in net.arch_parameters.values()) == 28
    assert {a.shape[1] for a in net.arch_parameters.values()} == {2}


def test_alpha_starts_at_a_thousandth_of_a_normal_sample_and_frozen():
    torch.manual_seed(4)
    net = NASBench201Supernet(channels=2, cells_per_stage=1)
    torch.manual_seed(4)
    (alpha,) = net.arch_parameters.values()
    assert torch.equal(alpha, 1e-3 * torch.randn(6, 5))
    assert not alpha.requires_grad
    assert torch.equal(net.state_dict()['arch_parameters.cell'], alpha)
    assert NASBench201Supernet(channels=2, cells_per_stage=1, alpha_std=0.0).arch_parameters[
        'cell'
    ].count_nonzero() == 0  # fmt: skip


def test_alpha_over_many_starts_has_the_stated_deviation():
    torch.manual_seed(0)
    alpha = torch.cat(
        [
            a.flatten()
            for _ in range(5)
            for a in DARTSSupernet(channels=2, num_cells=1).arch_parameters.values()
        ]
    )
    assert alpha.std().item() == pytest.approx(1e-3, rel=0.1)
    assert abs(alpha.mean().item()) < 1e-4


def test_the_weight_step_computes_no_gradient_of_alpha():
    net = NASBench201Supernet(channels=2, cells_per_stage=1)
    net(torch.randn(2, 3, 8, 8))[0].sum().backward()
    assert all(alpha.grad is None for alpha in net.arch_parameters.values())


def test_every_alpha_has_a_gradient_when_it_is_trainable():
    torch.manual_seed(0)
    net = DARTSSupernet('s1', channels=2, num_cells=3)
    alphas = [alpha.requires_grad_() for alpha in net.arch_parameters.values()]
    out = net(torch.randn(4, 3, 16, 16))[0]
    for grad in torch.autograd.grad(out.square().mul(torch.randn_like(out)).sum(), alphas):
        assert (grad.abs().sum(dim=1) > 0).all()
        # the rows of softmax's gradient sum to zero
        assert grad.sum(dim=1).abs().max() < 1e-4 * grad.abs().max()


# Any input


@pytest.mark.parametrize('in_channels', [1, 4])
@pytest.mark.parametrize('size', [(32, 32), (17, 23), (5, 8), (28, 28)])
def test_any_size_and_channel_count(size, in_channels):
    x = torch.randn(2, in_channels, *size)
    quarter = tuple(-(-s // 4) for s in size)
    net = NASBench201Supernet(in_channels=in_channels, channels=2, cells_per_stage=1)
    assert net(x)[0].shape == (2, 8, *quarter)
    net = DARTSSupernet(in_channels=in_channels, channels=2, num_cells=3)
    assert net(x)[0].shape == (2, 32, *quarter)
    assert net.out_channels == 32


@pytest.mark.parametrize('size', [64, 97, 224])
def test_the_imagenet_stem(size):
    net = DARTSSupernet('s2', channels=2, num_cells=3, stem='imagenet')
    with torch.no_grad():
        (out,) = net(torch.randn(2, 3, size, size))
    assert out.shape == (2, net.out_channels, *[-(-size // 32)] * 2)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: DARTSSupernet('nas_bench_201'), "'nas_bench_201' does not fit DARTSSupernet"),
        (lambda: NASBench201Supernet('darts'), "space 'darts' does not fit NASBench201Supernet"),
        (lambda: DARTSSupernet('s5'), "unknown search space 's5': did you mean 's"),
        (lambda: DARTSSupernet(stem='cifar10'), "stem must be 'cifar' or 'imagenet'"),
        (lambda: NASBench201Supernet(stem='cifar10'), "stem must be 'cifar' or 'imagenet'"),
        (lambda: DARTSSupernet(channels=0), 'channels must be a positive integer, but is 0'),
        (lambda: DARTSSupernet(num_cells=1.5), 'num_cells must be a positive integer'),
        (lambda: NASBench201Supernet(in_channels=True), 'in_channels must be a positive integer'),
        (lambda: NASBench201Supernet(relaxation='Softmx'), "unknown relaxation 'Softmx': did "),
        (lambda: NASBench201Supernet(mixed_op='MixedOps'), "unknown mixed operation 'MixedOps'"),
        (
            lambda: NASBench201Supernet(mixed_op=dict(type='MixedOp', k=4)),
            "mixed operation 'MixedOp' takes no 'k': known: affine, ",
        ),
        (lambda: NASBench201Supernet(execution='fsat'), "execution must be one of .* is 'fsat'"),
        (lambda: NASBench201Supernet(alpha_std='x'), 'alpha_std must be a number, 0 or more'),
        (lambda: NASBench201Supernet(alpha_std=-1.0), 'alpha_std must be a number, 0 or more'),
    ],
)
def test_errors(build, message):
    with pytest.raises(UserError, match=message) as error:
        build()
    assert '\n' not in str(error.value)


# An independent reference: functions of the entries of the edge state dict


class Reference:
    """Cells computed edge by edge from an edge state dict, in training mode."""

    def __init__(self, state):
        self.state = state

    def conv(self, x, key, **kwargs):
        return F.conv2d(x, self.state[key], **kwargs)

    def norm(self, x):
        mean = x.mean((0, 2, 3), keepdim=True)
        var = x.var((0, 2, 3), unbiased=False, keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt()

    def separable(self, x, key, first, kernel, stride, dilation=1):
        pad = dilation * (kernel - 1) // 2
        args = dict(stride=stride, padding=pad, dilation=dilation, groups=x.shape[1])
        x = self.conv(x.clamp(min=0), f'{key}.{first}.weight', **args)
        return self.norm(self.conv(x, f'{key}.{first + 1}.weight'))

    def __call__(self, name, x, key, stride, pool_norm):
        key = f'{key}.{name}'
        if name == 'none':
            return 0 * x[:, :, ::stride, ::stride]
        if name == 'skip_connect' and stride == 1:
            return x
        if name == 'skip_connect':
            x = x.clamp(min=0)
            left = self.conv(x[:, :, ::2, ::2], f'{key}.conv_1.weight')
            right = self.conv(x[:, :, 1::2, 1::2], f'{key}.conv_2.weight')
            return self.norm(torch.cat([left, right], 1))
        if name == 'max_pool_3x3':
            return self.norm(F.max_pool2d(x, 3, stride, 1))
        if name == 'avg_pool_3x3':
            ones = F.avg_pool2d(torch.ones_like(x), 3, stride, 1)
            out = F.avg_pool2d(x, 3, stride, 1) / ones
            return self.norm(out) if pool_norm else out
        kind, _, size = name.split('_')
        kernel = int(size[0])
        if kind == 'nor':
            out = self.conv(x.clamp(min=0), f'{key}.1.weight', stride=stride, padding=kernel // 2)
            return self.norm(out)
        if kind == 'dil':
            return self.separable(x, key, 1, kernel, stride, 2)
        return self.separable(self.separable(x, key, 1, kernel, stride), key, 5, kernel, 1)

    def cell(self, prefix, topology, inputs, beta, stride, pool_norm):
        nodes = list(inputs)
        for target in range(len(inputs), topology.num_nodes):
            total = 0
            for row, edge in enumerate(topology.edges):
                if edge.target != target:
                    continue
                step = stride if edge.source < len(inputs) else 1
                key = f'{prefix}.mixed.{edge.source}.edges.{edge.source}_{target}'
                for k, name in enumerate(edge.candidates):
                    term = self(name, nodes[edge.source], key, step, pool_norm)
                    total = total + beta[row][k] * term
            nodes.append(total)
        return nodes


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('space', ['darts', 's1', 's3'])
def test_a_darts_cell_against_the_reference(space, stride):
    torch.manual_seed(0)
    net = DARTSSupernet(space, channels=4, num_cells=3).double()
    kind, index = ('normal', 0) if stride == 1 else ('reduce', 1)
    for alpha in net.arch_parameters.values():
        alpha.copy_(torch.randn_like(alpha))
        alpha.requires_grad_()
    topology = net.space.cells[kind]
    width = 4 * stride
    inputs = [torch.randn(3, width, 8, 8, dtype=torch.float64) for _ in range(2)]
    out = torch.cat(net.cells[index](inputs, net.mixing()[kind]), 1)

    state = {
        key: value.clone().requires_grad_(value.is_floating_point())
        for key, value in net.to_edge_state_dict().items()
    }
    beta = [
        state[f'arch_parameters.{group}'][row].exp()
        / state[f'arch_parameters.{group}'][row].exp().sum()
        for group, row in net.space.slots(kind)
    ]
    nodes = Reference(state).cell(f'cells.{index}', topology, inputs, beta, stride, True)
    expected = torch.cat(nodes[2:], 1)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)

    gradient = torch.randn_like(out)
    out.backward(gradient)
    expected.backward(gradient)
    compared = 0
    for module_key, alpha in net.arch_parameters.items():
        other = state[f'arch_parameters.{module_key}'].grad
        if module_key.startswith(kind):
            torch.testing.assert_close(alpha.grad, other, rtol=1e-9, atol=1e-9)
            compared += 1
    for node, mixed in net.cells[index].mixed.items():
        for key, parameter in mixed.named_parameters():
            _, name, rest = key.split('.', 2)
            rows = [
                state[f'cells.{index}.mixed.{node}.edges.{label}.{name}.{rest}'].grad
                for label, names in zip(mixed.labels, mixed.candidates, strict=True)
                if name in names
            ]
            torch.testing.assert_close(parameter.grad, torch.stack(rows), rtol=1e-9, atol=1e-9)
            compared += 1
    assert compared >= {'darts': 20, 's1': 15, 's3': 15}[space]


def test_a_nas_bench_201_cell_against_the_reference():
    torch.manual_seed(0)
    net = NASBench201Supernet(channels=4, cells_per_stage=1).double()
    net.arch_parameters['cell'].copy_(torch.randn(6, 5))
    x = torch.randn(3, 4, 7, 6, dtype=torch.float64)
    (out,) = net.cells[0]([x], net.mixing()['cell'])
    state = net.to_edge_state_dict()
    beta = net.arch_parameters['cell'].softmax(1)
    nodes = Reference(state).cell('cells.0', net.space.cells['cell'], [x], beta, 1, False)
    torch.testing.assert_close(out, nodes[-1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('build', [
    lambda: DARTSSupernet('s1', channels=2, num_cells=3),
    lambda: NASBench201Supernet(channels=2, cells_per_stage=1),
])  # fmt: skip
def test_the_edge_state_dict_of_a_supernet_goes_there_and_back(build):
    torch.manual_seed(0)
    first, second = build(), build()
    state = first.to_edge_state_dict()
    assert all(f'arch_parameters.{name}' in state for name in first.arch_parameters)
    second.from_edge_state_dict({key: value.clone() for key, value in state.items()})
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(first(x)[0], second(x)[0])
    for key, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[key], value), key
    with pytest.raises(UserError, match="it lacks 'arch_parameters"):
        second.from_edge_state_dict({k: v for k, v in state.items() if 'arch' not in k})


def test_stacked_keys_of_a_supernet():
    net = NASBench201Supernet(channels=2, cells_per_stage=1)
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items() if k.startswith('cells.0.')}
    for node, edges in enumerate([3, 2, 1]):
        prefix = f'cells.0.mixed.{node}.operations'
        assert shapes[f'{prefix}.nor_conv_3x3.1.weight'] == (edges, 2, 2, 3, 3)
        assert shapes[f'{prefix}.nor_conv_1x1.1.weight'] == (edges, 2, 2, 1, 1)
        assert shapes[f'{prefix}.nor_conv_3x3.2.running_var'] == (edges, 2)
    assert len(shapes) == 3 * 2 * 3


def test_noise_of_a_cell_is_drawn_per_edge_from_the_generator():
    """Edges draw in the order in which they run: by the node they leave, then by target."""
    torch.manual_seed(0)
    net = DARTSSupernet('s4', channels=2, num_cells=1)
    net.arch_parameters['normal'].fill_(0)
    net.arch_parameters['normal'][:, 0] = 200.0  # all weight is the noise's
    kind = net.cell_types[0]
    mixing = net.mixing()['normal']
    x = [torch.randn(2, 2 * (1 + (kind == 'reduce')), 6, 6) for _ in range(2)]
    cell = net.cells[0]
    topology = net.space.cells['normal']
    torch.manual_seed(9)
    out = torch.cat(cell(x, mixing), 1)
    torch.manual_seed(9)
    totals = {}
    for source in range(5):
        for edge in topology.edges:
            if edge.source == source:
                size = out.shape[-1]
                noise = standard_normal(torch.empty(2, size, size, x[0].shape[1]))
                totals[edge.target] = totals.get(edge.target, 0) + to_nchw(noise)
    torch.testing.assert_close(out, torch.cat([totals[node] for node in range(2, 6)], 1))
    torch.manual_seed(9)
    assert torch.equal(torch.cat(cell(x, mixing), 1), out)
    assert not torch.equal(torch.cat(cell(x, mixing), 1), out)
