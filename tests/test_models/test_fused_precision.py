"""What rounding does to fused: no more than to plain, in float32 and in bfloat16."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from test_models.fused_nets import (
    amp_results,
    image,
    loss_of,
    make,
    make_layerwise,
    make_mixed,
    space_of,
)
from torch import Tensor

from rdarts.models import BaseSupernet, DARTSSupernet, MixedOp, NASBench201Supernet
from rdarts.models.kernels import precision

pytestmark = pytest.mark.usefixtures('swish')


# float32


SEEDS = 20  # of five, one seed's rounding may be most of the mean
# Further off, rounding has turned a ReLU6 of a layer: in a few of a hundred seeds, others on each
# CPU and in each execution, and then it is all of the mean.
SWITCH = 1e-5


def start(name: str, seed: int) -> tuple[BaseSupernet, Tensor]:
    """A supernet, whose alpha has a gradient, and images."""
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
    return net, x


def gradients(net: BaseSupernet, x: Tensor) -> tuple[Tensor, Tensor]:
    """In float64, of the weights and of alpha."""
    loss_of(net(x)[0]).backward()
    alphas = list(net.arch_parameters.values())
    others = [p for p in net.parameters() if all(p is not alpha for alpha in alphas)]
    return tuple(torch.cat([p.grad.double().flatten() for p in part]) for part in (others, alphas))


@functools.cache
def exact_gradients(name: str, seed: int) -> tuple[Tensor, Tensor]:
    """By plain in float64."""
    net, x = start(name, seed)
    net.execution = 'plain'
    return gradients(net.double(), x.double())


@functools.cache
def rounding(name: str, seed: int, execution: str, backend: str) -> tuple[float, float]:
    """Relative L2 distance to plain in float64, of the weights' gradients and of alpha's."""
    net, x = start(name, seed)
    net.execution = execution
    pairs = zip(gradients(net, x), exact_gradients(name, seed), strict=True)
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


# AMP


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


DILATED = ['dil_conv_3x3', 'dil_conv_5x5', 'dil_conv_7x7', 'sep_conv_3x3']
WIDE = 32  # from 29 pixels on, oneDNN's gradients of the dilated weights are anything


def gradients_of_mixed(
    mixed: MixedOp, x: Tensor, execution: str, dtype: torch.dtype | None, create_graph: bool
) -> list[Tensor]:
    """Of x, the mixing weights and each parameter, in float64."""
    mixed = copy.deepcopy(mixed)
    mixed.execution = execution
    fused = execution == 'fused'  # and then a supernet's images are in channels_last
    memory_format = torch.channels_last if fused else torch.contiguous_format
    x = x.clone(memory_format=memory_format).requires_grad_()
    weights = torch.linspace(0.5, 1, len(DILATED), dtype=x.dtype).requires_grad_()
    with torch.autocast('cpu', dtype=dtype, enabled=dtype is not None):
        out = mixed(x, weights)
    loss = loss_of(out.to(x.dtype))
    inputs = [x, weights, *mixed.parameters()]
    found = torch.autograd.grad(loss, inputs, create_graph=create_graph)
    return [grad.detach().double() for grad in found]


@pytest.mark.parametrize('create_graph', [False, True], ids=['once', 'twice'])
@pytest.mark.parametrize('has', [True, False], ids=['bfloat16', 'a CPU without it'])
@pytest.mark.parametrize('channels', [4, 8])
def test_bfloat16_on_wide_images(path, channels, has, create_graph, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: has)
    errors = {'plain': [], 'fused': []}
    for seed in range(3):
        torch.manual_seed(seed)
        mixed = MixedOp(DILATED, channels, channels, 1, affine=True)
        x = image(2, WIDE, channels, seed=seed)
        exact = gradients_of_mixed(copy.deepcopy(mixed).double(), x, 'plain', None, False)
        for execution, found in errors.items():
            args = (mixed, x.float(), execution, torch.bfloat16, create_graph)
            pairs = zip(gradients_of_mixed(*args), exact, strict=True)
            found.append([float((one - other).norm() / other.norm()) for one, other in pairs])
    plain, fused = (torch.tensor(errors[execution]).mean(0) for execution in errors)
    assert (fused <= 1.5 * plain).all(), (fused.tolist(), plain.tolist())


@pytest.mark.slow
@pytest.mark.parametrize('channels', [4, 8])
@pytest.mark.parametrize('space', ['darts', 's1'])
def test_supernets_in_bfloat16_on_wide_images(path, space, channels):
    errors = {'plain': [], 'fused': []}
    for seed in range(3):
        torch.manual_seed(seed)
        net = DARTSSupernet(space, channels=channels, num_cells=3)
        x = image(2, WIDE, seed=seed).float()
        exact = amp_results(copy.deepcopy(net).double(), x.double(), 'plain', None)
        for execution, found in errors.items():
            pairs = zip(amp_results(net, x, execution, torch.bfloat16), exact, strict=True)
            found.append([float((one - other).norm() / other.norm()) for one, other in pairs])
    plain, fused = (torch.tensor(errors[execution]).mean(0) for execution in errors)
    assert (fused <= 1.5 * plain).all(), (fused.tolist(), plain.tolist())
