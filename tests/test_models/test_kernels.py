"""The functions of fused: PyTorch against C++, against autograd, and how C++ gets there."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rdarts.models import kernels
from rdarts.models.kernels import to_nchw, to_nhwc
from rdarts.models.kernels.backends import Backend, Conv, build, get_backend, has_cpp
from rdarts.models.kernels.noise import PIECE

ROOT = Path(__file__).resolve().parent.parent.parent
NO_COMPILER = 'no C++ compiler: the C++ back end does not run'


@pytest.fixture
def cpp() -> Backend:
    if not has_cpp():
        pytest.skip(NO_COMPILER)
    return get_backend('cpp')


@pytest.fixture(params=['cpp', 'torch'])
def backend(request) -> Backend:
    return request.getfixturevalue('cpp') if request.param == 'cpp' else get_backend('torch')


class Called(TorchDispatchMode):
    """Within, the names of the C++ operators that run are noted."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == 'rdarts':
            self.names.add(function._opname)
        return function(*args, **(kwargs or {}))


def tensors(result) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [] if result is None else [t for part in result for t in tensors(part)]


def assert_close(found, expected, tolerance: float = 1e-12) -> None:
    """Each tensor within a relative L2 distance; NaN and infinity at the same places."""
    found, expected = tensors(found), tensors(expected)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        finite = other.isfinite()
        assert torch.equal(one.isfinite(), finite)
        assert torch.equal(one[~finite].nan_to_num(0), other[~finite].nan_to_num(0))
        one, other = one[finite].double(), other[finite].double()
        assert (one - other).norm() <= tolerance * other.norm().clamp_min(1e-3)


def assert_twins(operator: str, call, *args, tolerance: float = 1e-12) -> None:
    """A kernel, or ``call(backend, *args)``, gives the same in C++ and in PyTorch."""
    results = []
    for name in ('cpp', 'torch'):
        backend = get_backend(name)
        with Called() as called:
            given = (getattr(backend, call),) if isinstance(call, str) else (call, backend)
            results.append(given[0](*given[1:], *args))
        assert operator in called.names if name == 'cpp' else not called.names
    assert_close(*results, tolerance)


def images(*sizes: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, generator=generator, dtype=torch.float64).to(dtype)


def slice_of_channels(*sizes: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    """[..., C] whose pixels are 3 C elements apart: a part of a concatenation."""
    wide = images(*sizes[:-1], 3 * sizes[-1], seed=seed, dtype=dtype)
    return wide[..., sizes[-1] : 2 * sizes[-1]]


def strewn(tensor: Tensor) -> Tensor:
    """The same numbers, no two of them beside each other in memory."""
    return torch.stack([tensor, tensor + 1], -1)[..., 0]


def out_size(size: int, kernel: int, conv: Conv) -> int:
    stride, padding, dilation = conv
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


# Either path: forward against PyTorch's modules


@pytest.mark.parametrize('maximum', [True, False])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('size', [(1, 1), (2, 3), (7, 10), (9, 4)])
def test_pooling_is_that_of_pytorch(backend, maximum, stride, size):
    x = images(2, *size, 8)
    y, moments = backend.pool_forward(x, maximum, stride)
    leaf = to_nchw(x).clone().requires_grad_()
    if maximum:
        expected = F.max_pool2d(leaf, 3, stride, 1)
    else:
        expected = F.avg_pool2d(leaf, 3, stride, 1, count_include_pad=False)
    assert_close(to_nchw(y), expected)
    var, mean = torch.var_mean(expected, (0, 2, 3), correction=0)
    assert_close(moments, torch.stack([mean, var]))
    dy, start = images(*y.shape, seed=1), images(*x.shape, seed=2)
    dx = start.clone()
    backend.pool_backward(dy, x, y, maximum, stride, dx)
    (grad,) = torch.autograd.grad(expected, leaf, to_nchw(dy))
    assert_close(to_nchw(dx - start), grad)


@pytest.mark.parametrize('stride', [1, 2])
def test_the_first_of_equal_maxima_takes_the_gradient(backend, stride):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-1, 2, (3, 8, 9, 16), generator=generator).double()
    y, _ = backend.pool_forward(x, True, stride)
    leaf = to_nchw(x).clone().requires_grad_()
    pooled = F.max_pool2d(leaf, 3, stride, 1)
    dy = images(*y.shape)
    (grad,) = torch.autograd.grad(pooled, leaf, to_nchw(dy))
    dx = torch.zeros_like(x)
    backend.pool_backward(dy, x, y, True, stride, dx)
    assert_close(to_nchw(dx), grad)
    assert (dx == 0).double().mean() > 0.5


@pytest.mark.parametrize('stride', [1, 2])
def test_nan_goes_through_a_maximum(backend, stride):
    x = images(2, 6, 7, 8)
    x[0, 2, 3, 1], x[1, 0, 0, 5], x[1, 5, 6, 7], x[0, 4, 4, 2] = *[torch.nan] * 3, torch.inf
    y, _ = backend.pool_forward(x, True, stride)
    expected = F.max_pool2d(to_nchw(x), 3, stride, 1)
    assert expected.isnan().sum() >= 4
    assert_close(to_nchw(y), expected)


def test_nan_goes_through_relu(backend):
    x = images(1, 5, 5, 8)
    x[0, 2, 2, 3] = torch.nan
    eye = torch.eye(8, dtype=torch.float64)
    taps = torch.zeros(1, 8, 1, 3, 3, dtype=torch.float64)
    taps[..., 1, 1] = 1
    y, _ = backend.separable_forward(x, None, None, taps, eye[None, :, :, None, None], (1, 1, 1))
    assert y[0, 0, 2, 2, 3].isnan()
    y, _ = backend.dense_forward(x, eye[None, :, :, None, None] * taps[0, 0, 0], (1, 1, 1))
    assert y[0, 0, 2, 2, 3].isnan()
    out = torch.empty_like(x)
    backend.mix([out], [False], [], [], x.new_zeros(0, 8), None, x, eye[None])
    assert out[0, 2, 2, 3].isnan()
    # not even a gradient of 0 stops it
    dx = backend.input_grad(x, [], None, torch.full_like(x, torch.nan))
    assert torch.equal(dx.isnan(), ~(x <= 0))


def test_moments(backend):
    y = images(3, 7, 5, 16) * 2 + 5
    var, mean = torch.var_mean(y, (0, 1, 2), correction=0)
    assert_close(backend.moments(y), torch.stack([mean, var]))
    r = torch.relu(y - 5).flatten(0, 2)
    mean, covariance = backend.relu_covariance(y - 5)
    assert_close(mean, r.mean(0))
    assert_close(covariance, torch.cov(r.t(), correction=0))


@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('batch', [True, False])
@pytest.mark.parametrize('shared', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_batch_norm(backend, affine, batch, shared, dtype):
    y = images(1 if shared else 3, 2, 4, 5, 8) + 1
    var, mean = torch.var_mean(y, (1, 2, 3), correction=0)
    running = [images(4, 8, seed=s).abs().to(dtype) for s in (1, 2)]
    parameters = [images(3, 8, seed=s).to(dtype) for s in (3, 4)] if affine else []
    chosen = [3, 0, 2]
    moved = tuple(t.clone() for t in running)
    moments = torch.stack([mean, var], 1)
    given = (moments, 40, moved, parameters, 0.3, 1e-3, batch, chosen)
    norm = backend.batch_norm(*given)
    assert norm.dtype == torch.float64
    expected = [t.double() for t in running]
    for e, row in enumerate(chosen):
        one = F.batch_norm(
            to_nchw(y[0 if shared else e]),
            *(t[row] for t in expected),
            *([t[e].double() for t in parameters] or (None, None)),
            *(batch, 0.3, 1e-3),
        )
        assert_close(to_nhwc(one), y[0 if shared else e] * norm[2, e] + norm[3, e])
        assert_close(norm[0, e], moments[0 if shared else e, 0] if batch else expected[0][row])
        assert_close(norm[1, e], norm[2, e] / (parameters[0][e].double() if affine else 1))
    assert_close(
        moved, tuple(t.to(dtype) for t in expected), 1e-6 if dtype.itemsize == 4 else 1e-12
    )
    assert torch.equal(moved[0][1], running[0][1])  # the row that does not run


# Either path: backward against autograd


class Separable(torch.autograd.Function):
    @staticmethod
    def forward(ctx, backend, x, scale, shift, depthwise, pointwise, conv):
        y, moments = backend.separable_forward(x, scale, shift, depthwise, pointwise, conv)
        ctx.backend = backend
        ctx.save_for_backward(x, scale, shift, depthwise, pointwise, y)
        ctx.conv = conv
        return y, moments

    @staticmethod
    def backward(ctx, g, _):
        backend = ctx.backend
        x, scale, shift, depthwise, pointwise, y = ctx.saved_tensors
        one = y.new_tensor([1.0, 0.0, 0.0])[None, :, None].expand(len(y), 3, y.shape[-1])
        shared = x.dim() == 4
        into = torch.full_like(x, torch.nan) if shared else None
        given = (x, scale, shift, depthwise, pointwise, ctx.conv, into, False, True)
        dx, sums, *grads = backend.separable_backward(g.contiguous().unbind(0), y, one, *given)
        if shared:
            return (None, dx * (x > 0), None, None, *grads, None)
        total, product = sums.unbind(1)
        return (None, dx * scale[:, None, None, None], product, total, *grads, None)


@pytest.mark.parametrize('shared', [True, False])
@pytest.mark.parametrize(
    ('kernel', 'conv'),
    [
        (3, (1, 1, 1)),
        (3, (2, 1, 1)),
        (5, (2, 4, 2)),
        (5, (1, 2, 1)),
        (3, (1, 2, 2)),
        (7, (2, 3, 1)),
    ],
)
def test_gradcheck_of_separable(backend, shared, kernel, conv):
    x = images(2, 4, 5, 8) if shared else images(2, 1, 4, 5, 8)
    given = [x, None, None] if shared else [x, images(2, 8, seed=1) + 3, images(2, 8, seed=2)]
    given += [images(2, 8, 1, kernel, kernel, seed=3), images(2, 16, 8, 1, 1, seed=4)]
    given = [t if t is None else t.requires_grad_() for t in given]

    def run(*given):
        return Separable.apply(backend, *given, conv)[0]

    assert torch.autograd.gradcheck(run, given, fast_mode=True)


class Inverted(torch.autograd.Function):
    """depthwise relu6(scale x + shift), then a batch norm whose backward is a g + b y + c."""

    @staticmethod
    def forward(ctx, backend, x, scale, shift, weight, stride, padding, norm):
        y, _ = backend.depthwise_forward(x, scale, shift, weight, stride, padding)
        ctx.backend = backend
        ctx.save_for_backward(x, scale, shift, weight, y)
        ctx.args = (stride, padding)
        return y * norm[0]

    @staticmethod
    def backward(ctx, g):
        backend = ctx.backend
        x, scale, shift, weight, y = ctx.saved_tensors
        back = y.new_tensor([2.0, 0.0, 0.0])[:, None].expand(3, y.shape[-1])
        given = (x, scale, shift, weight, *ctx.args)
        dx, (total, product), dw = backend.depthwise_backward(g.contiguous(), y, back, *given, True)
        return None, dx * scale, product, total, dw, None, None, None


@pytest.mark.parametrize('size', [(4, 5), (1, 1), (9, 3)])
@pytest.mark.parametrize(('kernel', 'stride'), [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2)])
def test_gradcheck_of_depthwise(backend, kernel, stride, size):
    x, scale, shift = images(2, *size, 8), images(8, seed=1) + 3, images(8, seed=2) * 2
    weight = images(8, 1, kernel, kernel, seed=3)
    given = [tensor.requires_grad_() for tensor in (x, scale, shift, weight)]
    padding, norm = kernel // 2, x.new_tensor([2.0])
    assert torch.autograd.gradcheck(
        lambda *given: Inverted.apply(backend, *given, stride, padding, norm), given, fast_mode=True
    )
    y, moments = backend.depthwise_forward(*given, stride, padding)
    active = F.relu6(to_nchw(x * scale + shift))
    if size != (1, 1):
        assert (active == 0).any() and (active == 6).any()
    expected = F.conv2d(active, weight, None, stride, padding, groups=8)
    assert_close(to_nchw(y), expected)
    var, mean = torch.var_mean(expected, (0, 2, 3), correction=0)
    assert_close(moments, torch.stack([mean, var]))


def test_a_gradient_goes_through_the_norm_after_a_depthwise_convolution(backend):
    x, weight = images(2, 5, 6, 16), images(16, 1, 3, 3, seed=3)
    scale, shift = torch.ones(2, 16, dtype=torch.float64)
    y, _ = backend.depthwise_forward(x, scale, shift, weight, 1, 1)
    g, back = images(*y.shape, seed=4), images(3, 16, seed=5)
    found = backend.depthwise_backward(g, y, back, x, scale, shift, weight, 1, 1, True)
    whole = (back[0] * g + back[1] * y + back[2]).contiguous()
    one = torch.zeros_like(back)
    one[0] = 1
    expected = backend.depthwise_backward(whole, y, one, x, scale, shift, weight, 1, 1, True)
    assert_close(found, expected)
    none = backend.depthwise_backward(g, y, back, x, scale, shift, weight, 1, 1, False)
    assert none[2] is None
    assert_close(none[:2], found[:2])


def test_relu6(backend):
    x, scale, shift = images(3, 4, 7, 16) * 3, images(16, seed=1) + 2, images(16, seed=2)
    given = [tensor.requires_grad_() for tensor in (x, scale, shift)]
    expected = F.relu6(x * scale + shift)
    assert (expected == 0).any() and (expected == 6).any()
    y, g = backend.relu6(*given), images(*x.shape, seed=3)
    assert_close(y, expected)
    grads = torch.autograd.grad(expected, given, g)
    with torch.no_grad():
        d, (total, product) = backend.relu6_backward(g.clone(), *given)
        assert_close((d * scale, product, total), grads)
        x[0, 1, 2, 3] = torch.nan
        assert backend.relu6(*given)[0, 1, 2, 3].isnan()


class Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx, backend, x, weight, conv):
        y, _ = backend.dense_forward(x, weight, conv)
        ctx.backend = backend
        ctx.save_for_backward(x, weight, y)
        ctx.conv = conv
        return y

    @staticmethod
    def backward(ctx, g):
        backend = ctx.backend
        x, weight, y = ctx.saved_tensors
        one = y.new_tensor([1.0, 0.0, 0.0])[None, :, None].expand(len(y), 3, y.shape[-1])
        into = torch.full_like(x, torch.nan)
        given = (x, weight, ctx.conv, into, False, True)
        dw = backend.dense_backward(g.contiguous().unbind(0), y, one, *given)
        return None, into * (x > 0), dw, None


@pytest.mark.parametrize('size', [(4, 4), (1, 1), (5, 3), (6, 7)])
@pytest.mark.parametrize(
    ('kernel', 'conv', 'outputs'),
    [
        (3, (1, 1, 1), 8),
        (3, (1, 1, 1), 16),
        (3, (2, 1, 1), 8),
        (1, (1, 0, 1), 8),
        (3, (1, 1, 1), 5),
    ],
)
def test_gradcheck_of_dense(backend, kernel, conv, outputs, size):
    if backend.unsupported_reasons(torch.device('cpu'), torch.float64, [8, outputs]):
        pytest.skip('a node of these channels takes PyTorch')
    x = images(2, *size, 8).requires_grad_()
    weight = images(2, outputs, 8, kernel, kernel, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, weight: Dense.apply(backend, x, weight, conv), (x, weight), fast_mode=True
    )
    expected = F.conv2d(to_nchw(x).relu(), weight[1], None, *conv)
    y, moments = backend.dense_forward(x, weight, conv)
    assert_close(to_nchw(y[1]), expected)
    var, mean = torch.var_mean(expected, (0, 2, 3), correction=0)
    assert_close(moments[1], torch.stack([mean, var]))


class Factorized(torch.autograd.Function):
    @staticmethod
    def forward(ctx, backend, x, *weights):
        y, _ = backend.factorized_forward(x, weights)
        ctx.backend = backend
        ctx.save_for_backward(x, y, *weights)
        return y

    @staticmethod
    def backward(ctx, g):
        backend = ctx.backend
        x, y, *weights = ctx.saved_tensors
        one = y.new_tensor([1.0, 0.0, 0.0])[None, :, None].expand(len(y), 3, y.shape[-1])
        into = torch.zeros_like(x)
        g = g.contiguous().unbind(0)
        grads = backend.factorized_backward(g, y, one, x, weights, into, True)
        return None, into * (x > 0), *grads


@pytest.mark.parametrize('size', [(4, 4), (1, 1), (5, 4), (3, 7)])
@pytest.mark.parametrize('branches', [1, 2])
def test_gradcheck_of_factorized(backend, size, branches):
    x = images(2, *size, 8).requires_grad_()
    weights = [images(3, 8, 8, 1, 1, seed=s).requires_grad_() for s in range(1, 1 + branches)]
    assert torch.autograd.gradcheck(
        partial(Factorized.apply, backend), (x, *weights), fast_mode=True
    )
    active = F.pad(to_nchw(x).relu(), (0, 1, 0, 1))
    half = [-(-s // 2) for s in size]
    parts = [F.conv2d(active[..., b:, b:], w[2], stride=2) for b, w in enumerate(weights)]
    expected = torch.cat([part[..., : half[0], : half[1]] for part in parts], 1)
    assert_close(to_nchw(backend.factorized_forward(x, weights)[0][2]), expected)


class Mix(torch.autograd.Function):
    """The mix of two edges: three terms of the first, one of the second."""

    edge_of = [0, 1, 0, 0]

    @staticmethod
    def forward(ctx, backend, x, scales, shifts, matrices, *terms):
        outs = [torch.full_like(x, torch.nan) for _ in shifts]
        backend.mix(outs, [False, False], terms, Mix.edge_of, scales, shifts, x, matrices)
        ctx.backend = backend
        ctx.save_for_backward(x, scales, matrices, *terms)
        return tuple(outs)

    @staticmethod
    def backward(ctx, *g):
        backend = ctx.backend
        x, scales, matrices, *terms = ctx.saved_tensors
        g = [to_nhwc(to_nchw(one)) for one in g]
        products, totals, cross = backend.mix_sums(g, terms, Mix.edge_of, x)
        dx = backend.input_grad(x, g, None, None, matrices)
        back = [g[j] * scale for j, scale in zip(Mix.edge_of, scales, strict=True)]
        return None, dx, products, totals, cross, *back


def test_gradcheck_of_mixing(backend):
    x, scales = images(2, 3, 3, 8), images(4, 8, seed=1)
    shifts, matrices = images(2, 8, seed=2), images(2, 8, 8, seed=3)
    terms = [images(2, 3, 3, 8, seed=s) for s in range(4, 8)]
    given = [t.requires_grad_() for t in (x, scales, shifts, matrices, *terms)]
    assert torch.autograd.gradcheck(partial(Mix.apply, backend), given, fast_mode=True)
    first, second = Mix.apply(backend, *given)
    r = x.relu()
    expected = sum(scales[t] * terms[t] for t in (0, 2, 3)) + shifts[0] + r @ matrices[0].t()
    assert_close(first, expected)
    assert_close(second, scales[1] * terms[1] + shifts[1] + r @ matrices[1].t())
    held = first.detach().clone()
    backend.mix([held], [True], [terms[1].detach()], [0], scales[1:2].detach())
    assert_close(held, first + scales[1] * terms[1])


def test_input_grad_is_its_formula(backend):
    x = images(2, 4, 5, 16)
    x[0, 0] = 0  # relu has no slope at 0
    g = [images(2, 4, 5, 16, seed=s) for s in (1, 2)]
    skips, dr = torch.tensor([0.0, -2.5], dtype=torch.float64), images(2, 4, 5, 16, seed=3)
    left, right, row = images(2, 16, 16, seed=4), images(16, 16, seed=5), images(16, seed=6)
    inner = dr + g[0] @ left[0] + g[1] @ left[1] + x.relu() @ right + row
    expected = skips[1] * g[1] + (x > 0) * inner
    before = dr.clone()
    assert_close(backend.input_grad(x, g, skips, dr, left, right, row), expected)
    assert torch.equal(dr, before)
    assert_close(backend.input_grad(x, g, skips, None), skips[1] * g[1])
    assert_close(backend.input_grad(x, g, None, dr), (x > 0) * dr)
    out = torch.full_like(x, torch.nan)
    assert backend.input_grad(x, g, skips, dr, out=out) is out
    assert_close(out, skips[1] * g[1] + (x > 0) * dr)


def test_coefficients_are_the_gradient_of_y(backend):
    """a g + b y + c is what a backward of (1, 0, 0) would have been given."""
    x, e = images(2, 5, 6, 8), images(2, 3, 8, seed=9)
    one = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)[None, :, None].expand(2, 3, 8)
    depthwise, pointwise = images(2, 8, 1, 3, 3, seed=1), images(2, 8, 8, 1, 1, seed=2)
    y, _ = backend.separable_forward(x, None, None, depthwise, pointwise, (2, 1, 1))
    g = images(*y.shape, seed=3)
    a, b, c = e[:, :, None, None, None].unbind(1)
    dy = a * g + b * y + c

    def separable(g, coefficients, accumulate):
        into = images(*x.shape, seed=4) if accumulate else torch.full_like(x, torch.nan)
        rest = (x, None, None, depthwise, pointwise, (2, 1, 1), into, accumulate, True)
        dx, _, *grads = backend.separable_backward(g.unbind(0), y, coefficients, *rest)
        return dx.clone(), *grads

    expected = separable(dy, one, False)
    assert_close(separable(g, e, False), expected)
    added, *grads = separable(g, e, True)
    assert_close((added - images(*x.shape, seed=4), *grads), expected)

    weight = images(2, 8, 8, 3, 3, seed=5)
    y, _ = backend.dense_forward(x, weight, (1, 1, 1))
    g = images(*y.shape, seed=6)
    dy = a * g + b * y + c

    def dense(g, coefficients, accumulate):
        into = images(*x.shape, seed=4) if accumulate else torch.full_like(x, torch.nan)
        rest = (x, weight, (1, 1, 1), into, accumulate, True)
        return into, backend.dense_backward(g.unbind(0), y, coefficients, *rest)

    expected = dense(dy, one, False)
    assert_close(dense(g, e, False), expected)
    added, grad = dense(g, e, True)
    assert_close((added - images(*x.shape, seed=4), grad), expected)


@pytest.mark.parametrize('kind', ['separable', 'dense', 'factorized'])
def test_no_weight_gradient_where_none_is_wanted(backend, kind):
    x = images(2, 4, 4, 8)
    one = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)[None, :, None].expand(1, 3, 8)
    into = torch.zeros_like(x)
    if kind == 'separable':
        weights = images(1, 8, 1, 3, 3, seed=1), images(1, 8, 8, 1, 1, seed=2)
        y, _ = backend.separable_forward(x, None, None, *weights, (1, 1, 1))
        rest = (x, None, None, *weights, (1, 1, 1), into, False, False)
        _, _, *found = backend.separable_backward([images(*y.shape[1:])], y, one, *rest)
    elif kind == 'dense':
        weight = images(1, 8, 8, 3, 3, seed=1)
        y, _ = backend.dense_forward(x, weight, (1, 1, 1))
        rest = (x, weight, (1, 1, 1), into, False, False)
        found = [backend.dense_backward([images(*y.shape[1:])], y, one, *rest)]
    else:
        weights = [images(1, 4, 8, 1, 1, seed=s) for s in (1, 2)]
        y, _ = backend.factorized_forward(x, weights)
        g = [images(*y.shape[1:])]
        found = backend.factorized_backward(g, y, one, x, weights, into, False)
    assert all(grad is None or grad.numel() == 0 for grad in found)
    assert into.any()


# C++ against PyTorch

SEPARABLE = [
    # channels, outputs, kernel, conv, edges, shared, size
    (8, 8, 3, (1, 1, 1), 2, True, (8, 8)),
    (16, 16, 5, (1, 2, 1), 3, True, (9, 11)),
    (32, 32, 3, (1, 2, 2), 1, False, (7, 10)),
    (64, 64, 5, (1, 4, 2), 1, True, (5, 9)),
    (16, 24, 7, (1, 3, 1), 2, False, (9, 17)),
    (24, 8, 5, (2, 4, 2), 2, True, (10, 7)),
    (16, 16, 3, (2, 1, 1), 2, True, (11, 9)),
    (32, 16, 7, (2, 3, 1), 1, True, (8, 18)),
    (64, 8, 3, (1, 1, 1), 2, False, (3, 2)),
    (8, 40, 7, (2, 6, 2), 1, True, (1, 1)),
]


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ('channels', 'outputs', 'kernel', 'conv', 'edges', 'shared', 'size'), SEPARABLE
)
def test_separable_twins(cpp, channels, outputs, kernel, conv, edges, shared, size, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    lead = () if shared else (edges,)
    x = images(*lead, 3, *size, channels, dtype=dtype)
    scale = shift = None
    if not shared:
        scale = strewn(images(edges, channels, seed=1, dtype=dtype))
        shift = images(channels, edges, seed=2, dtype=dtype).t()
    depthwise = images(channels, edges, 1, kernel, kernel, seed=3, dtype=dtype).transpose(0, 1)
    pointwise = strewn(images(edges, outputs, channels, 1, 1, seed=4, dtype=dtype))
    layer = (scale, shift, depthwise, pointwise, conv)
    assert_twins('separable_forward', 'separable_forward', x, *layer, tolerance=tolerance)
    out = [out_size(s, kernel, conv) for s in size]
    y = images(edges, 3, *out, outputs, seed=5, dtype=dtype)
    g = [slice_of_channels(3, *out, outputs, seed=6 + e, dtype=dtype) for e in range(edges)]
    coefficients = images(3, edges, outputs, seed=9, dtype=dtype).transpose(0, 1)

    def backward(backend, accumulate, weights):
        into = images(*x.shape, seed=10, dtype=dtype) if shared else None
        rest = (x, *layer, into, accumulate, weights)
        found = backend.separable_backward(g, y, coefficients, *rest)
        return found if weights else found[: 1 if shared else 2]

    for accumulate, weights in ((False, True), (True, True), (True, False)):
        assert_twins('separable_backward', backward, accumulate, weights, tolerance=tolerance)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ('channels', 'kernel', 'stride', 'size'),
    [(24, 3, 1, (9, 11)), (16, 5, 2, (8, 7)), (72, 7, 1, (1, 1)), (64, 3, 2, (17, 4))],
)
def test_inverted_twins(cpp, channels, kernel, stride, size, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    x = images(3, *size, channels, dtype=dtype)
    norm = [strewn(images(channels, seed=s, dtype=dtype) * 2) for s in (1, 2)]
    weight = strewn(images(channels, 1, kernel, kernel, seed=3, dtype=dtype))
    layer, padding = (x, *norm, weight, stride), kernel // 2
    twins = partial(assert_twins, tolerance=tolerance)
    twins('depthwise_forward', 'depthwise_forward', *layer, padding)
    out = [out_size(s, kernel, (stride, padding, 1)) for s in size]
    g, y = (images(3, *out, channels, seed=s, dtype=dtype) for s in (4, 5))
    back = strewn(images(3, channels, seed=6, dtype=dtype))
    for weights in (True, False):

        def backward(backend, weights):
            found = backend.depthwise_backward(g, y, back, *layer, padding, weights)
            return found if weights else found[:2]

        twins('depthwise_backward', backward, weights)
    twins('relu6_forward', 'relu6', x, *norm)
    d = images(3, *size, channels, seed=7, dtype=dtype)
    twins('relu6_backward', lambda backend: backend.relu6_backward(d.clone(), x, *norm))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ('inputs', 'outputs', 'edges', 'size'),
    [
        (8, 8, 2, (8, 8)),
        (16, 16, 3, (9, 11)),
        (32, 32, 1, (7, 10)),
        (64, 64, 1, (4, 5)),
        (24, 8, 2, (1, 1)),
        (8, 40, 1, (3, 34)),
        (16, 32, 2, (2, 1)),
    ],
)
def test_dense_twins(cpp, inputs, outputs, edges, size, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    x = images(3, *size, inputs, dtype=dtype)
    weight = strewn(images(edges, outputs, inputs, 3, 3, seed=1, dtype=dtype))
    conv = (1, 1, 1)
    assert_twins('conv3x3_forward', 'dense_forward', x, weight, conv, tolerance=tolerance)
    y = images(edges, 3, *size, outputs, seed=2, dtype=dtype)
    g = [slice_of_channels(3, *size, outputs, seed=3 + e, dtype=dtype) for e in range(edges)]
    coefficients = images(3, edges, outputs, seed=9, dtype=dtype).transpose(0, 1)

    def backward(backend, accumulate, weights):
        into = images(*x.shape, seed=10, dtype=dtype)
        rest = (x, weight, conv, into, accumulate, weights)
        return into, backend.dense_backward(g, y, coefficients, *rest)

    for accumulate, weights in ((False, True), (True, True), (True, False)):
        assert_twins('conv3x3_backward', backward, accumulate, weights, tolerance=tolerance)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('branches', [1, 2])
@pytest.mark.parametrize('size', [(8, 8), (9, 11), (1, 3)])
def test_factorized_twins(cpp, branches, size, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    x = images(3, *size, 16, dtype=dtype)
    weights = [images(2, 8, 16, 1, 1, seed=s, dtype=dtype) for s in range(branches)]
    assert_twins('moments', 'factorized_forward', x, weights, tolerance=tolerance)
    half = [-(-s // 2) for s in size]
    y = images(2, 3, *half, 8 * branches, seed=3, dtype=dtype)
    g = [slice_of_channels(3, *half, 8 * branches, seed=4 + e, dtype=dtype) for e in range(2)]
    coefficients = images(3, 2, 8 * branches, seed=6, dtype=dtype).transpose(0, 1)

    def backward(backend):
        into = images(*x.shape, seed=7, dtype=dtype)
        return into, backend.factorized_backward(g, y, coefficients, x, weights, into, True)

    assert_twins('mix', backward, tolerance=tolerance)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('channels', [8, 16, 24, 64])
@pytest.mark.parametrize('matrix', [True, False])
def test_mixing_twins(cpp, channels, matrix, dtype):
    """0 to 9 terms an edge, images that are parts of a concatenation."""
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    size, edge_of = (3, 9, 11, channels), [0, 2, 2, 3, 2, 3, 2, 3, 2, *[4] * 9]
    terms = [
        (images if t % 2 else slice_of_channels)(*size, seed=t, dtype=dtype)
        for t in range(len(edge_of))
    ]
    g = [slice_of_channels(*size, seed=20 + j, dtype=dtype) for j in range(5)]
    scales = images(channels, len(terms), seed=30, dtype=dtype).t()
    shifts = strewn(images(5, channels, seed=31, dtype=dtype))
    x = images(*size, seed=32, dtype=dtype)
    matrices = images(5, channels, channels, seed=33, dtype=dtype).transpose(1, 2)
    extra = (x, matrices) if matrix else (None, None)

    def mix(backend, accumulate, shifts):
        outs = [slice_of_channels(*size, seed=40 + j, dtype=dtype) for j in range(5)]
        backend.mix(outs, accumulate, terms, edge_of, scales, shifts, *extra)
        return outs

    for accumulate in ([False] * 5, [True, False, True, False, True]):
        assert_twins('mix', mix, accumulate, shifts, tolerance=tolerance)
    assert_twins('mix', mix, accumulate, None, tolerance=tolerance)
    assert_twins('mix_sums', 'mix_sums', g, terms, edge_of, extra[0], tolerance=tolerance)
    skips = torch.tensor([1.5, 0.0, -2.0, 0.0, 0.25], dtype=dtype)
    right = strewn(images(channels, channels, seed=50, dtype=dtype))
    row = strewn(images(channels, seed=51, dtype=dtype))
    dr = images(*size, seed=52, dtype=dtype)
    x[0] = 0
    for given in (
        (skips, dr, matrices, right, row),
        (skips, None, None, None, None),
        (None, dr, None, None, None),
        (None, None, matrices, right, row),
    ):
        assert_twins('input_grad', 'input_grad', x, g, *given, tolerance=tolerance)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('channels', [8, 16, 24, 64])
@pytest.mark.parametrize('stride', [1, 2])
def test_pool_and_moments_twins(cpp, channels, stride, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    x = images(3, 9, 12, channels, dtype=dtype).round(decimals=1)  # some are equal

    def backward(backend, *args):
        dx = images(*x.shape, seed=2, dtype=dtype)
        backend.pool_backward(*args, dx)
        return dx

    for maximum in (True, False):
        y, _ = cpp.pool_forward(x, maximum, stride)
        dy = images(*y.shape, seed=1, dtype=dtype)

        assert_twins(
            'pool_forward',
            'pool_forward',
            x,
            maximum,
            stride,
            tolerance=tolerance,
        )
        assert_twins('pool_backward', backward, dy, x, y, maximum, stride, tolerance=tolerance)
    y = slice_of_channels(3, 9, 12, channels, dtype=dtype)
    assert_twins('moments', 'moments', y, tolerance=tolerance)
    assert_twins('relu_covariance', 'relu_covariance', x, tolerance=tolerance)


def test_batch_norm_twins(cpp):
    moments = strewn(images(3, 2, 8).abs())
    running = [images(4, 8, seed=s).abs() for s in (1, 2)]
    affine = [strewn(images(3, 8, seed=s)) for s in (3, 4)]

    def run(backend, batch, tracked):
        moved = tuple(t.clone() for t in running) if tracked else None
        norm = backend.batch_norm(moments, 90, moved, affine, 0.2, 1e-5, batch, [2, 1, 3])
        return norm, moved

    for batch, tracked in ((True, True), (True, False), (False, True)):
        assert_twins('batch_norm', run, batch, tracked)


def test_a_thread_more_or_less(cpp):
    """What threads sum is one sum; images are shared out, whatever their number."""
    before = torch.get_num_threads()
    x = images(5, 7, 9, 16)
    weights = images(2, 16, 1, 3, 3, seed=1), images(2, 16, 16, 1, 1, seed=2)
    dense = images(2, 16, 16, 3, 3, seed=3)
    g = [images(5, 7, 9, 16, seed=s) for s in (4, 5)]
    coefficients = images(2, 3, 16, seed=6)

    def run():
        y, moments = cpp.separable_forward(x, None, None, *weights, (1, 1, 1))
        into = torch.empty_like(x)
        rest = (x, None, None, *weights, (1, 1, 1), into, False, True)
        _, _, *grads = cpp.separable_backward(g, y, coefficients, *rest)
        z, more = cpp.dense_forward(x, dense, (1, 1, 1))
        grad = cpp.dense_backward(g, z, coefficients, x, dense, (1, 1, 1), into, True, True)
        pooled = cpp.pool_forward(x, True, 2)
        sums = cpp.mix_sums(g, [x, z[0]], [0, 1], x)
        return [y, moments, *grads, z, more, grad, into, *pooled, *sums, cpp.moments(x)]

    try:
        torch.set_num_threads(1)
        one = run()
        torch.set_num_threads(3)
        assert_close(run(), one)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ('sizes', 'dtype', 'native'),
    [
        ((2, 3, 3, 8), torch.float32, True),
        ((2, 3, 3, 24), torch.float64, True),
        ((2, 3, 3, 12), torch.float32, False),
        ((2, 3, 3, 8), torch.bfloat16, False),
        ((2, 3, 3, 8), torch.float16, False),
    ],
)
def test_what_goes_to_cpp(cpp, sizes, dtype, native):
    x = torch.ones(sizes, dtype=dtype)
    reasons = cpp.unsupported_reasons(x.device, dtype, [sizes[-1]])
    assert bool(reasons) is not native
    with Called() as called:
        moments = kernels.choose_backend(x.device, dtype, sizes[-1]).moments(x)
    assert called.names == ({'moments'} if native else set())
    assert_close(moments, torch.stack([torch.ones(sizes[-1]), torch.zeros(sizes[-1])]).double())
    with kernels.use_backend('torch') as backend:
        assert kernels.choose_backend(x.device, dtype, sizes[-1]) is backend


def test_a_back_end_that_declines_says_why_once(cpp, told):
    device = torch.device('cpu')
    for _ in range(2):
        assert kernels.choose_backend(device, torch.float32, 8, 12, told=True).name == 'torch'
    assert kernels.choose_backend(device, torch.float16, 6).name == 'torch'
    kernels.choose_backend(torch.device('meta'), torch.float32, 8, told=True)
    start = 'fused runs in PyTorch, not in C++: '
    assert told == [
        f'{start}8 and 12 channels are no multiple of 8',
        f'{start}images are on meta, and it runs on CPUs',
    ]
    reasons = cpp.unsupported_reasons(device, torch.bfloat16, [8, 6])
    assert reasons == ['it has no bfloat16', '8 and 6 channels are no multiple of 8']
    assert kernels.choose_backend(device, torch.float32, 8, 16, told=True) is cpp
    assert len(told) == 2


def test_rows_are_the_same_memory_where_that_fits():
    x = to_nchw(images(2, 3, 4, 8))
    assert to_nhwc(x).data_ptr() == x.data_ptr()
    other = to_nhwc(x.contiguous())
    assert torch.equal(other, to_nhwc(x)) and other.data_ptr() != x.data_ptr()
    # sizes of 1 have the strides that C++ goes by, whatever PyTorch made of them
    for given in (
        images(5, 8, 1, 1),
        images(5, 8, 1, 1).expand(5, 8, 1, 1).permute(0, 1, 3, 2),
        images(5, 8)[..., None, None].expand(-1, -1, 1, 1),
        images(5, 8, 3, 1),
        images(5, 8, 1, 3),
    ):
        found = to_nhwc(given)
        assert torch.equal(found, given.permute(0, 2, 3, 1))
        _, h, w, c = found.shape
        assert found.stride() == (h * w * c, w * c, c, 1)


def test_gradients_are_read_where_they_are(backend):
    """Channels of a concatenation are no copy for C++; anything else is."""
    wide = to_nchw(images(2, 3, 4, 24))
    part = wide[:, 8:16]
    found = backend.gradient_to_nhwc(part)
    assert torch.equal(found, part.permute(0, 2, 3, 1))
    assert (found.data_ptr() == part.data_ptr()) is (backend.name == 'cpp')
    for given in (
        wide[:, :16:2],  # channels that are apart
        part[..., :3],  # pixels that are not equally far apart
        images(2, 8)[..., None, None].expand(-1, -1, 3, 4),  # of a mean over pixels
        images(1, 8, 1, 1).expand(2, 8, 3, 4),
        images(2, 8, 3, 4),
        images(5, 8, 1, 1),
    ):
        found = backend.gradient_to_nhwc(given)
        assert torch.equal(found, given.permute(0, 2, 3, 1))
        assert found.is_contiguous()
        sums = backend.mix_sums([found], [found.contiguous()], [0], None)
        assert_close(sums[:2], ((found**2).sum((0, 1, 2))[None], found.sum((0, 1, 2))[None]))


def test_memory_that_is_used_again_is_not_shared(cpp):
    """Large results live in blocks that go round: never two in one at a time."""
    like = torch.zeros(4, 32, 32, 16)
    cpp.empty_images(like, 16, 32, 32)  # comes back at once
    first, second = (cpp.empty_images(like, 16, 32, 32) for _ in range(2))
    assert first.data_ptr() != second.data_ptr()
    first.fill_(1), second.fill_(2)
    part = first[0]
    del first
    third = cpp.empty_images(like, 16, 32, 32).fill_(3)
    assert (part == 1).all() and (second == 2).all() and (third == 3).all()
    assert third.is_contiguous(memory_format=torch.channels_last)


# The library


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv('RDARTS_CACHE', str(tmp_path / 'mine'))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert build.cache_folder() == tmp_path / 'mine'
    monkeypatch.delenv('RDARTS_CACHE')
    assert build.cache_folder() == tmp_path / 'xdg' / 'rdarts'
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert build.cache_folder() == tmp_path / '.cache' / 'rdarts'


# One process for all cases, as importing torch takes seconds: each case forks.
SCRIPT = """
import os, sys
import torch
from rdarts.models.kernels.backends import has_cpp
from rdarts.models.mixed_ops.mixed_op import MixedOp

for case in sys.argv[1:]:
    print(f'== {case}', flush=True)
    pid = os.fork()
    if not pid:
        for pair in case.split(','):
            name, _, value = pair.partition('=')
            os.environ[name] = value
        mixed = MixedOp(['skip_connect', 'nor_conv_3x3'], 8)
        mixed.execution = 'fused'
        out = mixed(torch.ones(2, 8, 4, 4), torch.ones(2))
        again = mixed(torch.ones(2, 8, 4, 4), torch.ones(2))
        print('native', has_cpp(), 'finite', bool(out.isfinite().all()), flush=True)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    print('exit code', os.waitstatus_to_exitcode(status), flush=True)
"""
FALLBACK = 'fused runs in PyTorch, not in C++: '


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='forks')
def test_where_the_library_cannot_be_had(tmp_path):
    blocked, file = tmp_path / 'blocked', tmp_path / 'file'
    file.write_text('')
    failing = tmp_path / 'failing'
    failing.write_text('#!/bin/sh\necho "a note" >&2\necho "x.cpp:1: error: broken" >&2\nexit 1\n')
    failing.chmod(0o755)
    cases = {
        f'RDARTS_CACHE={tmp_path / "a"},CXX=/bin/false': ('returned non-zero exit status 1', 1),
        f'RDARTS_CACHE={tmp_path / "b"},CXX={failing}': ('x.cpp:1: error: broken', 1),
        f'RDARTS_CACHE={tmp_path / "c"},CXX=none,PATH=/nowhere': ('no C++ compiler was found', 0),
        f'RDARTS_CACHE={file}': ('exists', 1),
        f'RDARTS_CACHE={file / "d"}': ('Not a directory', 1),
        f'RDARTS_CACHE={blocked},RDARTS_NATIVE=0': (None, 0),
    }
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, *cases],
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', RDARTS_NATIVE='1'),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert 'Traceback' not in done.stdout + done.stderr
    parts = done.stdout.split('== ')[1:]
    assert len(parts) == len(cases)
    for part, (case, (reason, compiling)) in zip(parts, cases.items(), strict=True):
        assert part.startswith(case)
        assert 'native False finite True' in part, part
        assert 'exit code 0' in part, part
        said = [line for line in part.splitlines() if FALLBACK in line]
        if reason is None:
            assert not said
        else:
            assert len(said) == 1, part
            assert reason in said[0]
        assert part.count('compiling the kernels of fused') == compiling
    assert not blocked.exists()
    assert not [path for path in tmp_path.rglob('*') if path.suffix == '.so']


@pytest.mark.slow
def test_a_compiled_library_is_loaded_and_not_compiled_again(cpp, monkeypatch, tmp_path):
    """The file that is there is taken, without any compiler."""
    (tmp_path / 'cache').symlink_to(build.cache_folder())
    case = f'RDARTS_CACHE={tmp_path / "cache"},CXX=/bin/false'
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, case],
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert 'native True finite True' in done.stdout, done.stdout + done.stderr
    assert 'compiling' not in done.stdout


@pytest.mark.skipif(sys.platform == 'win32', reason='a shell script stands for the compiler')
def test_a_library_is_of_its_compiler_and_flags(monkeypatch, tmp_path):
    """Another compiler, version, flag, PyTorch or CPU makes another file."""
    monkeypatch.setenv('RDARTS_CACHE', str(tmp_path))

    def compiler(name, version):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho "{version}"\n')
        path.chmod(0o755)
        return str(path)

    def change(target, name, value):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, value)
            return build._library(first)

    first = compiler('first', '12.2')
    names = [build._library(first), build._library(compiler('second', '12.2'))]
    assert build._library(first) == names[0]
    compiler('first', '13.1')
    names.append(build._library(first))
    flags = build._flags()
    assert '-O3' in flags
    names.append(change(build, '_flags', lambda: [*flags, '-g']))
    names.append(change(build.torch, '__version__', '9.9'))
    names.append(change(build, '_cpu', lambda: 'another'))
    assert len(set(names)) == len(names)
    # without a compiler, or with one that does not work, what is there is taken
    broken = str(tmp_path / 'missing')
    assert build._library(None) not in names
    names[0].write_bytes(b'')
    assert build._library(None) == build._library(broken) == names[0]
    assert change(build, '_cpu', lambda: 'another') != names[0]


# noise


@pytest.mark.parametrize('size', [3, 40, PIECE, PIECE + 1, 5 * PIECE])
def test_noise_is_the_same_numbers_in_cpp_and_with_any_number_of_threads(cpp, size):
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            torch.manual_seed(4)
            found.append(kernels.standard_normal(torch.empty(size)))
            found.append(torch.rand(2))  # the state that it leaves
    finally:
        torch.set_num_threads(threads)
    with kernels.use_backend('torch'):
        torch.manual_seed(4)
        found += [kernels.standard_normal(torch.empty(size)), torch.rand(2)]
    for noise, after in zip(found[::2], found[1::2], strict=True):
        assert torch.equal(noise, found[0])
        assert torch.equal(after, found[1])


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_noise_is_standard_normal(path, dtype):
    torch.manual_seed(0)
    noise = kernels.standard_normal(torch.empty(8, PIECE, dtype=dtype)).double()
    again = kernels.standard_normal(torch.empty(8, PIECE, dtype=dtype)).double()
    bound = 5 / noise.numel() ** 0.5  # of standard errors, five
    assert abs(noise.mean()) < bound
    assert abs(noise.var() - 1) < 1.5 * bound + (0.01 if dtype == torch.bfloat16 else 0)
    assert abs((noise**3).mean()) < 4 * bound
    pieces = torch.cat([noise, again])
    correlation = torch.corrcoef(pieces) - torch.eye(16, dtype=torch.float64)
    assert correlation.abs().max() < 5 / PIECE**0.5
