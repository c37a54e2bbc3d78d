"""Supernets and mixed operations in float64, run plain and fused, for the tests of fused."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rdarts.models import (
    BaseSupernet,
    DARTSSupernet,
    MixedOp,
    MobileNetLikeSupernet,
    NASBench201Supernet,
)
from rdarts.models.layers import StackedBatchNorm2d
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.registry import RELAXATIONS, build
from rdarts.search_spaces import build_space

FUSED = {
    'skip_connect': ('Identity', 'Factorized'),
    'noise': ('Noise', 'Noise'),
    'max_pool_3x3': ('Pool', 'Pool'),
    'avg_pool_3x3': ('Pool', 'Pool'),
    'nor_conv_1x1': ('Folded1x1', 'Factorized'),
    'nor_conv_3x3': ('Dense', 'Dense'),
    'sep_conv_3x3': ('Separable', 'Separable'),
    'sep_conv_5x5': ('Separable', 'Separable'),
    'sep_conv_7x7': ('Separable', 'Separable'),
    'dil_conv_3x3': ('Separable', 'Separable'),
    'dil_conv_5x5': ('Separable', 'Separable'),
    'dil_conv_7x7': ('Separable', 'Separable'),
    'mbconv_k3_e3': ('Inverted', 'Inverted'),
    'mbconv_k5_e6': ('Inverted', 'Inverted'),
    'mbconv_k7_e3': ('Inverted', 'Inverted'),
}
EVERY = (*FUSED, 'none')


class Swish(nn.Module):
    """An operation of one's own."""

    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        return self.norm(self.conv(x * torch.sigmoid(x)))


def one_input_table(num_nodes: int = 4) -> dict:
    edges = [
        (0, 1, ['nor_conv_3x3', 'skip_connect', 'noise', 'max_pool_3x3']),
        (0, 2, ['swish', 'dil_conv_5x5', 'nor_conv_1x1']),
        (1, 2, ['none']),
        (0, 3, ['avg_pool_3x3', 'sep_conv_3x3', 'skip_connect', 'none', 'nor_conv_3x3']),
        (1, 3, ['conv_7x1_1x7', 'nor_conv_1x1']),
        (2, 3, ['none', 'sep_conv_7x7', 'noise', 'avg_pool_3x3']),
    ]
    cells = dict(only=dict(num_nodes=num_nodes, edges=edges))
    args = dict(avg_pool_3x3=dict(norm=False))
    return dict(type='CellSpace', name='mine', cells=cells, operation_args=args)


def two_input_table() -> dict:
    """Cells that reduce, with candidates that DARTS's space has not."""
    edges = [
        (0, 2, ['nor_conv_1x1', 'nor_conv_3x3', 'skip_connect']),
        (1, 2, ['avg_pool_3x3', 'noise', 'swish', 'max_pool_3x3']),
        (0, 3, ['conv_7x1_1x7', 'sep_conv_5x5', 'nor_conv_1x1', 'none']),
        (1, 3, ['skip_connect', 'nor_conv_3x3', 'dil_conv_3x3']),
        (2, 3, ['nor_conv_1x1', 'avg_pool_3x3', 'skip_connect', 'noise']),
    ]
    cell = dict(num_inputs=2, num_nodes=4, edges=edges, output='concat')
    args = dict(avg_pool_3x3=dict(norm=False))
    cells = dict(normal=cell, reduce=cell)
    return dict(type='CellSpace', name='mine', cells=cells, operation_args=args)


def make(space, channels: int = 8, depth: int | None = None, **kwargs) -> BaseSupernet:
    """A supernet in float64 of random alpha, batch norms and running statistics."""
    torch.manual_seed(0)
    if space == 'mobilenet_like':
        return strew(make_layerwise(channels, alpha_std=0.5, execution='plain', **kwargs)).double()
    one_input = space == 'nas_bench_201' or (space != 'darts' and 'only' in str(space))
    kwargs = dict(space=space, channels=channels, alpha_std=0.5, execution='plain', **kwargs)
    if one_input:
        net = NASBench201Supernet(cells_per_stage=depth or 1, **kwargs)
    else:
        net = DARTSSupernet(num_cells=depth or 3, **kwargs)
    return strew(net).double()


def make_layerwise(channels: int = 8, **kwargs) -> MobileNetLikeSupernet:
    """Four layers: with and without a stride, another width, a skip."""
    sizes = dict(widths=(channels, 2 * channels, 2 * channels), depths=(1, 2, 1), strides=(2, 1, 2))
    names = ('stem_channels', 'first_channels', 'last_channels')
    kwargs.update(dict.fromkeys(names, channels), stem='cifar')
    return MobileNetLikeSupernet(dict(type='mobilenet_like', **sizes), **kwargs)


def strew(module: nn.Module) -> nn.Module:
    """Random affine parameters and running statistics."""
    generator = torch.Generator().manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, (StackedBatchNorm2d, nn.BatchNorm2d)):
            for name in ('weight', 'bias', 'running_mean', 'running_var'):
                tensor = getattr(norm, name)
                if tensor is not None:
                    value = torch.randn(tensor.shape, generator=generator)
                    tensor.data.copy_(value.abs() + 0.5 if name == 'running_var' else 1 + value / 2)
    return module


def image(batch: int, size: Sequence[int] | int, channels: int = 3, seed: int = 2) -> Tensor:
    size = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)


def loss_of(out: Tensor) -> Tensor:
    """A loss whose gradient is different at every place."""
    weight = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view_as(out)
    return (out * (weight * 37).sin().to(out.dtype)).sum() + out.square().mean()


def collect(net: BaseSupernet, x: Tensor, trainable: str = 'both') -> dict[str, Tensor]:
    """All that a step computes: output, gradients by name, buffers after it."""
    net = copy.deepcopy(net)
    alphas = {id(alpha) for alpha in net.arch_parameters.values()}
    for parameter in net.parameters():
        kind = 'alpha' if id(parameter) in alphas else 'weights'
        parameter.requires_grad_(trainable in ('both', kind))
    x = x.clone().requires_grad_()
    torch.manual_seed(3)
    (out,) = net(x)
    loss_of(out).backward()
    found = {'out': out.detach(), 'x.grad': x.grad}
    for name, parameter in net.named_parameters():
        if parameter.grad is not None:
            found[f'{name}.grad'] = parameter.grad
    found.update(net.named_buffers())
    return found


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance=1e-10) -> None:
    scale = max(t.norm() for name, t in expected.items() if name.endswith('grad'))
    for name in found.keys() ^ expected.keys():
        # an edge of `none` alone: no gradient of its weight is as good as 0
        assert name.endswith('grad') and not {**found, **expected}[name].any(), name
    for name in found.keys() & expected.keys():
        tensor = expected[name]
        # the floor is for gradients that are 0 but for rounding
        distance = (found[name] - tensor).double().norm()
        limit = tolerance * tensor.double().norm() + 1e-14 * scale
        assert distance <= limit, (name, float(distance), float(limit))
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape


def assert_executions_agree(net: BaseSupernet, x: Tensor, trainable: str = 'both') -> dict:
    results = []
    for execution in ('plain', 'fused'):
        net.execution = execution
        results.append(collect(net, x, trainable))
    expected, found = results
    assert_same(found, expected)
    return found


SPACES = ['nas_bench_201', 'darts', 's1', 's2', 's3', 's4', 'one_input', 'two_input']
SPACES += ['mobilenet_like']


def space_of(name: str):
    return {'one_input': one_input_table(), 'two_input': two_input_table()}.get(name, name)


def mixed_results(
    mixed: MixedOp, size: Sequence[int], execution: str, into: bool = False
) -> dict[str, Tensor]:
    """As :func:`collect`, of a mixed operation."""
    mixed = copy.deepcopy(mixed)
    mixed.execution = execution
    x = image(2, size, 8).requires_grad_()
    generator = torch.Generator().manual_seed(5)
    weights = [
        torch.randn(len(names), generator=generator, dtype=torch.float64).requires_grad_()
        for names in mixed.candidates
    ]
    out_size = [-(-s // mixed.stride) for s in size]
    held = [image(2, out_size, mixed.out_channels, seed=7 + i) for i in range(len(weights))]
    held = [h.contiguous(memory_format=torch.channels_last).requires_grad_() for h in held]
    torch.manual_seed(6)
    outs = mixed.forward_edges(x, Mixing.of(weights), [h * 2 for h in held] if into else None)
    sum(loss_of(out * (1 + i)) for i, out in enumerate(outs)).backward()
    found = {f'out.{i}': out.detach() for i, out in enumerate(outs)}
    found['x.grad'] = torch.zeros_like(x) if x.grad is None else x.grad
    found.update({f'beta.{i}.grad': w.grad for i, w in enumerate(weights) if w.grad is not None})
    found.update({f'into.{i}.grad': h.grad for i, h in enumerate(held) if into})
    for name, parameter in mixed.named_parameters():
        grad = parameter.grad
        found[f'{name}.grad'] = torch.zeros_like(parameter) if grad is None else grad
    found.update(mixed.named_buffers())
    return found


def make_mixed(candidates, outputs=8, stride=1, mode='train', **kwargs) -> MixedOp:
    torch.manual_seed(0)
    mixed = strew(MixedOp(candidates, 8, outputs, stride, **kwargs)).double()
    return mixed.train(mode == 'train')


def amp_results(net: BaseSupernet, x: Tensor, execution: str, dtype: torch.dtype | None):
    net = copy.deepcopy(net)
    net.execution = execution
    for parameter in net.parameters():
        parameter.requires_grad_()
    torch.manual_seed(3)
    device = x.device.type
    with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
        (out,) = net(x)
        loss = loss_of(out.float()) / out.numel() * 64
    loss.backward()
    grads = [p.grad for p in net.parameters()]
    assert {grad.dtype for grad in grads} == {x.dtype}
    assert {b.dtype for b in net.buffers()} <= {x.dtype, torch.int64}
    return out.detach().float().flatten(), torch.cat([grad.flatten() for grad in grads])


def ours(registry) -> list[str]:
    """What the package registers, sorted."""
    registry.import_from_location()
    found = registry.module_dict.items()
    return sorted(name for name, kind in found if kind.__module__.startswith('rdarts.'))


def with_alpha() -> list[str]:
    """The relaxations that have one, sorted."""
    space = build_space('nas_bench_201')
    return [name for name in ours(RELAXATIONS) if build(name, RELAXATIONS).groups(space)]
