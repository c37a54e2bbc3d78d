"""fused: plain's numbers, by another way, in C++ and in PyTorch."""

from __future__ import annotations

import copy
import functools
import multiprocessing
import socket
from collections.abc import Callable, Sequence

import pytest
import torch
from test_models.fused_worker import build_net, ddp_worker, gradients
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rdarts.architect.architects.first_order import first_order
from rdarts.architect.architects.unrolled import unrolled
from rdarts.architect.regularizers import BatchEntropyDecay
from rdarts.architect.relaxations import Relaxation
from rdarts.errors import UserError
from rdarts.models import (
    BaseSupernet,
    DARTSSupernet,
    MixedOp,
    MobileNetLikeSupernet,
    NASBench201Supernet,
)
from rdarts.models.backbones.search_cell import SearchCell
from rdarts.models.fused import function as fused_module
from rdarts.models.fused.candidates import inverted
from rdarts.models.kernels import precision, standard_normal
from rdarts.models.operations import StackedBatchNorm2d
from rdarts.registry import DISCRETIZERS, MIXED_OPS, OPERATIONS, RELAXATIONS, build

NB201 = ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')
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


@pytest.fixture(autouse=True)
def swish():
    OPERATIONS.register_module(name='swish', module=Swish)
    yield
    OPERATIONS.module_dict.pop('swish')


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


def collect(net: BaseSupernet, x: Tensor, opened: str = 'both') -> dict[str, Tensor]:
    """All that a step computes: output, gradients by name, buffers after it."""
    net = copy.deepcopy(net)
    alphas = {id(alpha) for alpha in net.arch_parameters.values()}
    for parameter in net.parameters():
        kind = 'alpha' if id(parameter) in alphas else 'weights'
        parameter.requires_grad_(opened in ('both', kind))
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


def assert_executions_agree(net: BaseSupernet, x: Tensor, opened: str = 'both') -> dict:
    results = []
    for execution in ('plain', 'fused'):
        net.execution = execution
        results.append(collect(net, x, opened))
    expected, found = results
    assert_same(found, expected)
    return found


# Equality to plain in float64

SPACES = ['nas_bench_201', 'darts', 's1', 's2', 's3', 's4', 'one_input', 'two_input']
SPACES += ['mobilenet_like']


def space_of(name: str):
    return {'one_input': one_input_table(), 'two_input': two_input_table()}.get(name, name)


@pytest.mark.parametrize('mode', ['train', 'eval'])
@pytest.mark.parametrize('name', SPACES)
def test_every_space_gives_what_plain_gives(path, name, mode):
    net = make(space_of(name)).train(mode == 'train')
    found = assert_executions_agree(net, image(3, 9))
    grads = {name for name in found if name.endswith('.grad')}
    # edges of one candidate have no gradient of alpha; all else has one
    assert {f'{name}.grad' for name, _ in net.named_parameters()} | {'x.grad'} == grads
    buffers = dict(net.named_buffers())
    moved = [name for name in buffers if not torch.equal(buffers[name], found[name])]
    assert bool(moved) is (mode == 'train')


@pytest.mark.parametrize('opened', ['alpha', 'weights'])
@pytest.mark.parametrize('name', ['nas_bench_201', 'darts', 'two_input', 'mobilenet_like'])
def test_a_step_computes_what_it_asks_for(path, recorder, name, opened, monkeypatch):
    products = []
    product = inverted.weight_grad  # the weight gradients of a bottleneck's 1x1 convolutions
    monkeypatch.setattr(inverted, 'weight_grad', lambda *args: products.append(1) or product(*args))
    net = make(space_of(name), affine=True)
    found = assert_executions_agree(net, image(4, 8), opened)
    alphas = {f'arch_parameters.{group}.grad' for group in net.arch_parameters}
    grads = {name for name in found if name.endswith('.grad') and name != 'x.grad'}
    assert grads & alphas == (alphas if opened == 'alpha' else set())
    assert bool(grads - alphas) is (opened == 'weights')
    calls = recorder.of('separable_backward', 'dense_backward', 'depthwise_backward')
    assert calls and {args[-1] for _, args in calls} == {opened == 'weights'}
    bottlenecks = len(net.layers) * 6 if name == 'mobilenet_like' else 0
    assert len(products) == 2 * bottlenecks * (opened == 'weights')


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['train', 'eval'])
@pytest.mark.parametrize('options', [dict(affine=True), dict(track_running_stats=False)])
@pytest.mark.parametrize('name', ['nas_bench_201', 'darts', 'two_input', 'mobilenet_like'])
def test_batch_norms_of_another_kind(path, name, options, mode):
    if name == 'mobilenet_like' and 'affine' in options:
        options = dict(affine=False)  # of layers they are affine
    net = make(space_of(name), **options).train(mode == 'train')
    assert_executions_agree(net, image(3, 8))


@pytest.mark.parametrize('size', [4, 9, 11, (7, 10), (8, 1)])
@pytest.mark.parametrize('name', ['nas_bench_201', 's1', 'two_input', 'mobilenet_like'])
def test_any_size(path, name, size):
    assert_executions_agree(make(space_of(name)), image(8 if size == 4 else 2, size))


@pytest.mark.slow
@pytest.mark.parametrize('batch', [1, 3, 64])
@pytest.mark.parametrize(
    ('name', 'channels'), [('nas_bench_201', 16), ('s3', 8), ('mobilenet_like', 8)]
)
def test_any_batch(path, name, channels, batch):
    assert_executions_agree(make(name, channels), image(batch, 8))


@pytest.mark.parametrize('channels', [2, 6, 12])
@pytest.mark.parametrize('name', ['nas_bench_201', 's3', 'two_input', 'mobilenet_like'])
def test_channels_that_cpp_does_not_take(path, name, channels):
    assert_executions_agree(make(space_of(name), channels), image(2, 9))


def test_an_image_in_any_memory_format(path):
    net = make('nas_bench_201')
    net.execution = 'plain'
    x = image(2, (8, 9))
    expected = collect(net, x)
    net.execution = 'fused'
    strided = x.transpose(2, 3).contiguous().transpose(2, 3)
    for given in (x, x.contiguous(memory_format=torch.channels_last), strided):
        assert_same(collect(net, given), expected)
    # what a mean over pixels gives back is expanded: strides of 0, also at one pixel
    for size in (4, 8):
        x = image(3, size)
        results = []
        for execution in ('plain', 'fused'):
            net.execution = execution
            twin = copy.deepcopy(net)
            twin(x)[0].mean((2, 3)).square().sum().backward()
            results.append(
                {f'{n}.grad': p.grad for n, p in twin.named_parameters() if p.grad is not None}
            )
        assert_same(*results[::-1])


@pytest.mark.parametrize('size', [(1, 1), (1, 5), (5, 1), (2, 2)])
def test_images_of_hardly_a_pixel(path, size):
    """Strides of sizes of 1 say nothing: the channels_last ones need not be there."""
    torch.manual_seed(0)
    mixed = strew(MixedOp([[*EVERY], ['skip_connect', 'nor_conv_3x3']], 8)).double()
    results = []
    betas = [torch.rand(len(EVERY), dtype=torch.float64), torch.rand(2, dtype=torch.float64)]
    for execution in ('plain', 'fused'):
        twin = copy.deepcopy(mixed)
        twin.execution = execution
        x = image(4, size, 8).requires_grad_()
        torch.manual_seed(1)
        outs = twin.forward_edges(x, betas)
        pooled = torch.cat([out.mean((2, 3)) for out in outs])
        loss_of(pooled).backward()
        found = {f'{n}.grad': p.grad for n, p in twin.named_parameters()}
        results.append({'out': pooled.detach(), 'x.grad': x.grad, **found})
    assert_same(*results[::-1])


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
    outs = mixed.forward_edges(x, weights, [h * 2 for h in held] if into else None)
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


@pytest.mark.parametrize('mode', ['train', 'eval'])
@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('outputs', [8, 16, 5])
def test_every_operation_of_other_channels(path, outputs, stride, affine, mode):
    names = [name for name in EVERY if outputs == 8 or name != 'none']
    candidates = [[name] for name in names] + [[*names], [*names[::-2]]]
    mixed = make_mixed(candidates, outputs, stride, mode, affine=affine)
    for size in ((6, 6), (5, 8)):
        expected, found = (mixed_results(mixed, size, e, True) for e in ('plain', 'fused'))
        assert_same(found, expected)


@pytest.mark.parametrize(('stride', 'column'), [(1, 0), (2, 1)])
def test_which_operations_are_fused(stride, column):
    mixed = MixedOp([*FUSED], 8, stride=stride)
    kinds = {name: type(mixed.fused_candidates[name]).__name__ for name in FUSED}
    assert kinds == {name: kinds[column] for name, kinds in FUSED.items()}


@pytest.fixture
def aliases():
    """Other names of operations that have no parameters."""
    names = ('skip_connect', 'noise', 'avg_pool_3x3')
    for name in names:
        OPERATIONS.register_module(name=f'{name}_2', module=OPERATIONS.get(name))
    yield [[*names, *(f'{name}_2' for name in names)], ['noise_2', 'skip_connect_2', 'noise']]
    for name in names:
        OPERATIONS.module_dict.pop(f'{name}_2')


def test_two_candidates_of_one_kind_on_an_edge(path, aliases):
    mixed = make_mixed(aliases)
    expected, found = (mixed_results(mixed, (6, 6), e, True) for e in ('plain', 'fused'))
    assert_same(found, expected)
    results = []
    for execution in ('plain', 'fused'):
        mixed.execution = execution
        x = image(2, 4, 8).requires_grad_()
        betas = [torch.full((len(e),), 0.5).double().requires_grad_() for e in aliases]
        torch.manual_seed(1)
        loss = sum(loss_of(out.tanh()) for out in mixed.forward_edges(x, betas))
        grads = torch.autograd.grad(loss, [x, *betas], create_graph=True)
        results.append(torch.autograd.grad(sum(g.square().sum() for g in grads), [x, *betas]))
    for expected, found in zip(*results, strict=True):
        assert (found - expected).norm() <= 1e-10 * expected.norm()


def test_what_is_not_fused_falls_back_edge_by_edge_with_one_line(path, told):
    candidates = [['conv_7x1_1x7', 'skip_connect'], ['swish', 'nor_conv_3x3'], ['swish']]
    mixed = make_mixed(candidates)
    for _ in range(2):
        expected, found = (mixed_results(mixed, (6, 6), e, True) for e in ('plain', 'fused'))
        assert_same(found, expected)
    assert told == ['fused runs these edge by edge, as plain does: conv_7x1_1x7, swish']


def test_a_batch_norm_of_one_value_is_refused_as_plain_refuses_it(path):
    mixed = make_mixed(['nor_conv_3x3', 'skip_connect'])
    for execution in ('plain', 'fused'):
        mixed.execution = execution
        with pytest.raises(ValueError, match='Expected more than 1 value per channel'):
            mixed(image(1, 1, 8), torch.ones(2, dtype=torch.float64))
        mixed.eval()(image(1, 1, 8), torch.ones(2, dtype=torch.float64))
        mixed.train()


def test_mixed_modes_of_batch_norms(path):
    """One operation in evaluation mode beside others in training."""
    mixed = make_mixed([['sep_conv_3x3', 'nor_conv_3x3', 'max_pool_3x3', 'nor_conv_1x1']] * 2)
    mixed.operations['nor_conv_3x3'].eval()
    mixed.operations['sep_conv_3x3'][3].eval()
    expected, found = (mixed_results(mixed, (6, 6), e) for e in ('plain', 'fused'))
    assert_same(found, expected)


# float32


SEEDS = 20  # of five, one seed's rounding may be most of the mean
# Further off, rounding has turned a ReLU6 of a layer: in a few of a hundred seeds, others on each
# CPU and in each execution, and then it is all of the mean.
SWITCH = 1e-5


@functools.cache
def rounding(name: str, seed: int, execution: str, backend: str) -> tuple[float, float]:
    """Relative L2 distance to plain in float64, of the weights' gradients and of alpha's."""
    kwargs = dict(channels=8, alpha_std=1e-3)
    torch.manual_seed(seed)
    if name == 'mobilenet_like':
        net = make_layerwise(**kwargs)
    elif name == 'darts':
        net = DARTSSupernet(num_cells=3, **kwargs)
    else:
        net = NASBench201Supernet(cells_per_stage=1, **kwargs)
    x = torch.randn(4, 3, 8, 8)
    for alpha in net.arch_parameters.values():
        alpha.requires_grad_()

    def grads(net: BaseSupernet, x: Tensor) -> tuple[Tensor, Tensor]:
        loss_of(net(x)[0]).backward()
        alphas = list(net.arch_parameters.values())
        others = [p for p in net.parameters() if all(p is not alpha for alpha in alphas)]
        return tuple(
            torch.cat([p.grad.double().flatten() for p in part]) for part in (others, alphas)
        )

    exact = copy.deepcopy(net).double()
    exact.execution, net.execution = 'plain', execution
    pairs = zip(grads(net, x), grads(exact, x.double()), strict=True)
    return tuple(float((one - other).norm() / other.norm()) for one, other in pairs)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['nas_bench_201', 'darts', 'mobilenet_like'])
def test_float32_is_no_further_from_float64_than_plain(path, name):
    plain, found = (
        torch.tensor([rounding(name, seed, *execution) for seed in range(SEEDS)])
        for execution in (('plain', 'cpp'), ('fused', path))
    )
    if name == 'mobilenet_like':
        switched = [(errors > SWITCH).any(1) for errors in (plain, found)]
        assert switched[1].sum() <= switched[0].sum() + 3
        same = ~(switched[0] | switched[1])
        plain, found = plain[same], found[same]
    plain, found = plain.mean(0), found.mean(0)
    assert (plain > 0).all() and (plain < 1e-3).all()
    assert (found <= 1.5 * plain).all(), (found.tolist(), plain.tolist())


# The hand-written backward


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
        return tuple(self.mixed.forward_edges(x, betas))


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


@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_a_product_with_the_hessian(path, mode):
    """Of alpha and weights together, by two calls of autograd; running statistics move once."""
    results = []
    for execution in ('plain', 'fused'):
        net = make(one_input_table(), affine=True).train(mode == 'train')
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
        outs = mixed.forward_edges(x, betas)
        loss = sum(loss_of(out + x) for out in outs)
        grads = torch.autograd.grad(loss, [x, *betas], create_graph=True, allow_unused=True)
        grads = [grad for grad in grads if grad is not None]
        results.append(torch.autograd.grad(sum(g.square().sum() for g in grads), x)[0])
    assert (results[1] - results[0]).norm() <= 1e-10 * results[0].norm()


# A search


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
        nodes = self.cell([x], self.edge_weights()[self.name])
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


@pytest.mark.parametrize('stride', [1, 2])
def test_noise_is_drawn_edge_by_edge(path, stride):
    """Edges of one operation in any order of candidates: the draws are in edge order."""
    candidates = [
        ['noise', 'skip_connect'],
        ['sep_conv_3x3', 'noise'],
        ['sep_conv_3x3'],
        ['noise'],
    ]
    mixed = make_mixed(candidates, stride=stride)
    mixed.execution = 'fused'
    x = image(2, 6, 8)
    weights = [torch.zeros(len(names), dtype=torch.float64) for names in candidates]
    for edge, place in ((0, 0), (1, 1), (3, 0)):
        weights[edge][place] = 1
    torch.manual_seed(3)
    outs = mixed.forward_edges(x, weights)
    after = torch.rand(1)
    torch.manual_seed(3)
    for edge in (0, 1, 3):
        noise = torch.empty(2, 8, 6 // stride, 6 // stride, dtype=torch.float64)
        standard_normal(noise)
        assert (outs[edge] - noise).abs().max() < 1e-12, edge
    assert torch.equal(after, torch.rand(1))


# AMP


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
    assert {grad.dtype for grad in grads} == {torch.float32}
    assert {b.dtype for b in net.buffers()} <= {torch.float32, torch.int64}
    return out.detach().float().flatten(), torch.cat([grad.flatten() for grad in grads])


@pytest.mark.slow
@pytest.mark.parametrize('forced', [True, False], ids=['bfloat16', 'as the CPU has it'])
@pytest.mark.parametrize('name', ['nas_bench_201', 'darts', 'two_input'])
def test_bfloat16_is_as_close_as_plain(path, name, forced, monkeypatch):
    if forced:
        monkeypatch.setattr(precision, 'compute_dtype', lambda x: torch.bfloat16)
    net = make(space_of(name)).float()
    errors = {'plain': [], 'fused': []}
    for seed in range(1 if name == 'darts' else 2):
        x = image(4, 8, seed=seed).float()
        with monkeypatch.context() as patch:
            patch.setattr(precision, 'compute_dtype', lambda x: x.dtype)
            exact = amp_results(net, x, 'plain', None)
        for execution, found in errors.items():
            results = amp_results(net, x, execution, torch.bfloat16)
            found.append(
                [float((r - e).norm() / e.norm()) for r, e in zip(results, exact, strict=True)]
            )
    plain, found = (torch.tensor(errors[e]).mean(0) for e in ('plain', 'fused'))
    assert (plain > 1e-3).all()
    assert (found <= 1.5 * plain).all(), (found.tolist(), plain.tolist())


def test_a_cpu_without_bfloat16_computes_in_float32(path, monkeypatch):
    mixed = make_mixed(['nor_conv_3x3', 'sep_conv_3x3', 'skip_connect']).float()
    mixed.execution = 'fused'
    x, weights = image(2, 6, 8).float(), torch.rand(3)
    expected = mixed(x, weights)
    for has, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda has=has: has)
        with torch.autocast('cpu', torch.bfloat16):
            out = mixed(x.bfloat16() if has else x, weights)
        assert out.dtype == dtype
        distance = (out.float() - expected).norm() / expected.norm()
        assert distance == 0 if dtype == torch.float32 else 1e-3 < distance < 2e-2


# Distribution, checkpoints, copies


@pytest.mark.slow
def test_ddp(path):
    net, x = build_net()
    net.execution = 'plain'
    halves = [gradients(net, half) for half in x.chunk(2)]
    expected = [(one + other) / 2 for one, other in zip(*halves, strict=True)]
    context = multiprocessing.get_context('forkserver')
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    queue, processes = context.Queue(), []
    for rank in range(2):
        env = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_ADDR='127.0.0.1')
        env = {key: str(value) for key, value in dict(env, MASTER_PORT=port).items()}
        args = (queue, env, path)
        processes.append(context.Process(target=ddp_worker, args=args))
        processes[-1].start()
    results = dict(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert results[0] == results[1]
    for grad, one in zip(results[0], expected, strict=True):
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

        def checkpointed(inputs, weights):
            def run(*tensors):
                calls.append(1)
                count = len(inputs)
                return tuple(forward(tensors[:count], tensors[count:]))

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
        assert twin.execution == 'fused'
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
    alone = mixed.forward_edges(x, weights)
    assert torch.equal(x, before)
    held = image(2, 6, 8, seed=4).contiguous(memory_format=torch.channels_last)
    expected = held.clone() + alone[1]
    outs = mixed.forward_edges(x, weights, [None, held])
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
        outs = mixed.forward_edges(x, weights, [None, held])
        assert torch.equal(held, kept)
        assert (outs[1] - kept - alone[1]).abs().max() < 1e-12


def test_autograd_sees_what_is_written_over(path):
    """A tensor that a backward needs and that is added to is refused, not silently wrong."""
    mixed = make_mixed([['nor_conv_3x3', 'skip_connect']])
    mixed.execution = 'fused'
    weights = [torch.ones(2, dtype=torch.float64)]
    x = image(2, 6, 8).requires_grad_()
    (first,) = mixed.forward_edges(x, weights)
    version = first._version
    square = first.square()
    (second,) = mixed.forward_edges(image(2, 6, 8, seed=3), weights, [first])
    assert second._version > version
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        square.sum().backward()
    # and its own input
    (held,) = mixed.forward_edges(x, weights)
    (outer,) = mixed.forward_edges(held, weights)
    mixed.forward_edges(image(2, 6, 8, seed=3), weights, [held])
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        outer.sum().backward()


# Sampled relaxations


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


def test_only_the_sampled_operation_runs(path, recorder):
    """Statistics of the others stay, their gradients are 0, and no kernel is called for them."""

    def ran():
        kernels = ('separable_forward', 'dense_forward', 'pool_forward', 'relu_covariance')
        return [
            (name, len(args[3]) if name == 'separable_forward' else 1)
            for name, args in recorder.of(*kernels)
        ]

    names = ['sep_conv_3x3', 'nor_conv_3x3', 'max_pool_3x3', 'nor_conv_1x1', 'swish']
    mixed = make_mixed([names] * 3)
    mixed.execution, mixed.sampled = 'fused', True
    before = {n: b.clone() for n, b in mixed.named_buffers()}
    calls = []
    for copy_ in mixed.operations['swish']:
        copy_.register_forward_hook(lambda *_: calls.append(1))
    weights = torch.zeros(3, 5, dtype=torch.float64)
    weights[0, 0], weights[1, 2], weights[2, 0] = 1.0, 1.0, 0.5
    weights.requires_grad_()
    outs = mixed.forward_edges(image(2, 6, 8), weights.unbind(0))
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
    outs = mixed.forward_edges(image(2, 6, 8), weights.unbind(0))
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
    for opened in ('both', 'weights', 'alpha'):
        found = assert_executions_agree(net, x, opened)
        assert not found['x.grad'].any()
        if opened != 'weights':
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


# Methods that mix in their own way, and mistakes


class Halved(MixedOp):
    """A method that mixes otherwise."""

    def mix(self, x, weights, names, operations):
        return super().mix(x / 2, weights, names, operations)


def test_a_mix_of_ones_own_runs_as_plain(path, told):
    MIXED_OPS.register_module(name='Halved', module=Halved)
    try:
        net = make('nas_bench_201', mixed_op='rdarts.Halved')
        other = make('nas_bench_201')
    finally:
        MIXED_OPS.module_dict.pop('Halved')
    results = []
    for execution in ('plain', 'fused'):
        net.execution = other.execution = execution
        results.append(collect(net, image(2, 8)))
        assert not torch.allclose(results[-1]['out'], collect(other, image(2, 8))['out'])
    assert_same(*results[::-1], tolerance=1e-12)
    assert told == ['Halved mixes in its own way: its edges run one by one']


class Renamed(MixedOp):
    """A subclass that leaves ``mix`` as it is."""


def test_a_subclass_that_mixes_as_usual_is_fanned_out(path, told, monkeypatch):
    calls = []
    original = fused_module._Fused.apply
    monkeypatch.setattr(
        fused_module._Fused, 'apply', lambda *args: calls.append(1) or original(*args)
    )
    mixed = Renamed(['skip_connect', 'nor_conv_3x3'], 8)
    mixed(torch.zeros(2, 8, 4, 4), torch.ones(2))
    assert not calls
    mixed.execution = 'fused'
    mixed(torch.zeros(2, 8, 4, 4), torch.ones(2))
    assert calls == [1] and not told


@pytest.mark.parametrize('execution', ['together', 'PLAIN', None, 1])
def test_an_unknown_execution(execution):
    message = r"execution must be one of \('plain', 'fused'\), but is "
    with pytest.raises(UserError, match=message) as error:
        NASBench201Supernet(channels=2, cells_per_stage=1, execution=execution)
    assert '\n' not in str(error.value)
    net = NASBench201Supernet(channels=2, cells_per_stage=1)
    assert net.execution == 'fused'
    with pytest.raises(UserError, match=message):
        net.execution = execution
    assert net.execution == 'fused'


# CUDA

no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='no NVIDIA GPU')


@pytest.mark.cuda
@no_gpu
@pytest.mark.parametrize('mode', ['train', 'eval'])
@pytest.mark.parametrize('name', SPACES)
def test_every_space_on_cuda(name, mode):
    net = make(space_of(name)).train(mode == 'train').cuda()
    assert_executions_agree(net, image(3, 9).cuda())
    assert_executions_agree(net, image(2, (7, 10)).cuda(), 'alpha')


@pytest.mark.cuda
@no_gpu
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', ['nas_bench_201', 'darts', 'two_input'])
def test_amp_on_cuda(name, dtype):
    net = make(space_of(name)).float().cuda()
    x = image(8, 8).float().cuda()
    exact = amp_results(net, x, 'plain', None)
    errors = []
    for execution in ('plain', 'fused'):
        results = amp_results(net, x, execution, dtype)
        assert all(result.isfinite().all() for result in results)
        errors.append([(r - e).norm() / e.norm() for r, e in zip(results, exact, strict=True)])
    for plain, found in zip(*errors, strict=True):
        assert found <= 1.5 * plain
