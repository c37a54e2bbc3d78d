"""fused: plain's numbers, by another way, in C++ and in PyTorch."""

from __future__ import annotations

import copy

import pytest
import torch
from test_models.fused_nets import (
    EVERY,
    FUSED,
    SPACES,
    assert_executions_agree,
    assert_same,
    collect,
    image,
    loss_of,
    make,
    make_mixed,
    mixed_results,
    space_of,
    strew,
)
from torch.autograd.graph import saved_tensors_hooks

from rdarts.errors import UserError
from rdarts.models import MixedOp, NASBench201Supernet
from rdarts.models.kernels import standard_normal, to_nchw
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.registry import MIXED_OPS, OPERATIONS

pytestmark = pytest.mark.usefixtures('swish')


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


@pytest.mark.parametrize('operation', ['max_pool_3x3', 'avg_pool_3x3'])
def test_of_pooling_the_maximum_alone_is_kept(path, operation):
    mixed, x = make_mixed([operation]), image(2, 8, 8)
    mixed.execution, kept = 'fused', []
    with saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        mixed(x.requires_grad_(), torch.ones(1, dtype=x.dtype))
    assert len([one for one in kept if one.dim() == 4]) == 1 + (operation == 'max_pool_3x3')


@pytest.mark.parametrize('trainable', ['alpha', 'weights'])
@pytest.mark.parametrize('name', ['nas_bench_201', 'darts', 'two_input', 'mobilenet_like'])
def test_a_step_computes_what_it_asks_for(path, recorder, name, trainable):
    net = make(space_of(name), affine=True)
    found = assert_executions_agree(net, image(4, 8), trainable)
    alphas = {f'arch_parameters.{group}.grad' for group in net.arch_parameters}
    grads = {name for name in found if name.endswith('.grad') and name != 'x.grad'}
    assert grads & alphas == (alphas if trainable == 'alpha' else set())
    assert bool(grads - alphas) is (trainable == 'weights')
    bottleneck = ('project_backward', 'depthwise_backward')
    calls = recorder.of('separable_backward', 'dense_backward', *bottleneck)
    assert calls and {args[-1] for _, args in calls} == {trainable == 'weights'}
    bottlenecks = len(net.layers) * 6 if name == 'mobilenet_like' else 0
    assert len(recorder.of(*bottleneck)) == 2 * bottlenecks


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
        outs = twin.forward_edges(x, Mixing.of(betas))
        pooled = torch.cat([out.mean((2, 3)) for out in outs])
        loss_of(pooled).backward()
        found = {f'{n}.grad': p.grad for n, p in twin.named_parameters()}
        results.append({'out': pooled.detach(), 'x.grad': x.grad, **found})
    assert_same(*results[::-1])


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
        loss = sum(loss_of(out.tanh()) for out in mixed.forward_edges(x, Mixing.of(betas)))
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
    outs = mixed.forward_edges(x, Mixing.of(weights))
    after = torch.rand(1)
    torch.manual_seed(3)
    for edge in (0, 1, 3):
        noise = torch.empty(2, 6 // stride, 6 // stride, 8, dtype=torch.float64)
        noise = to_nchw(standard_normal(noise))
        assert (outs[edge] - noise).abs().max() < 1e-12, edge
    assert torch.equal(after, torch.rand(1))


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


def test_a_subclass_that_mixes_as_usual_is_fused(path, told, recorder):
    mixed = Renamed(['skip_connect', 'nor_conv_3x3'], 8)
    mixed(torch.zeros(2, 8, 4, 4), torch.ones(2))
    assert not recorder.calls
    mixed.execution = 'fused'
    mixed(torch.zeros(2, 8, 4, 4), torch.ones(2))
    assert len(recorder.of('mix')) == 1 and not told


class Partial(MixedOp):
    """Mixes the first half of the channels with halved weights; the others pass by."""

    def __init__(self, candidates, in_channels, out_channels=None, stride=1, **kwargs):
        outputs = (out_channels or in_channels) // 2
        super().__init__(candidates, in_channels // 2, outputs, stride, **kwargs)

    def forward_edges(self, x, mixing, into=None):
        half = x.shape[1] // 2
        mixing = mixing._replace(weights=mixing.weights / 2)
        mixed = super().forward_edges(x[:, :half], mixing)
        return [torch.cat([one, x[:, half:]], 1) for one in mixed]


def test_a_method_that_overrides_forward_edges_runs_fused(path, told, recorder):
    torch.manual_seed(0)
    mixed = Partial([['nor_conv_3x3', 'skip_connect'], ['sep_conv_3x3']], 16).double()
    x, weights = torch.randn(2, 16, 4, 4).double(), torch.rand(3).double()
    results = []
    for execution in ('plain', 'fused'):
        mixed.execution = execution
        assert not recorder.of('mix')
        x.requires_grad_()
        outs = mixed.forward_edges(x, Mixing(weights))
        grads = torch.autograd.grad(sum(out.square().sum() for out in outs), x)
        results.append([*outs, *grads])
    assert len(recorder.of('mix')) == 1 and not told
    for plain, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-12)
        assert plain.shape == (2, 16, 4, 4)


@pytest.mark.parametrize('execution', ['together', 'PLAIN', None, 1])
def test_an_unknown_execution(execution):
    message = r"execution must be one of \('auto', 'plain', 'fused', 'fused_triton'\), but is "
    with pytest.raises(UserError, match=message) as error:
        NASBench201Supernet(channels=2, cells_per_stage=1, execution=execution)
    assert '\n' not in str(error.value)
    net = NASBench201Supernet(channels=2, cells_per_stage=1)
    assert net.execution == 'auto' and net.runs_fused
    with pytest.raises(UserError, match=message):
        net.execution = execution
    assert net.execution == 'auto' and net.runs_fused
