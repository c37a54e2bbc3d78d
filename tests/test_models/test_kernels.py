"""The kernels of fused, in PyTorch and in C++: against PyTorch's modules and against autograd."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from test_models.kernel_images import assert_close, images, norm_of

from rdarts.models.kernels import Rows, Running, Unit, to_nchw, to_nhwc

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
    y, _ = backend.separable_forward(x, None, taps, eye[None, :, :, None, None], (1, 1, 1))
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
    for active in (True, False):
        x = (torch.relu(y - 5) if active else y - 5).flatten(0, 2)
        mean, covariance = backend.covariance(y - 5, active)
        assert_close(mean, x.mean(0))
        assert_close(covariance, torch.cov(x.t(), correction=0))


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


@pytest.mark.parametrize('affine', [False, True])
@pytest.mark.parametrize('batch', [True, False])
def test_backward_of_a_mixed_batch_norm(backend, affine, batch):
    """beta (weight (y - mean) / std + bias), and the coefficients of its gradient for y."""
    y = images(3, 5, 4, 8).requires_grad_()
    beta, weight, bias = images(1, seed=1), images(8, seed=2), images(8, seed=3)
    leaves = [beta, weight, bias] if affine else [beta]
    for leaf in leaves:
        leaf.requires_grad_()
    running = images(8, seed=4), images(8, seed=5).square() + 1
    out = F.batch_norm(
        to_nchw(y),
        *(running if not batch else (None, None)),
        *(leaves[1:] or (None, None)),
        batch,
    )
    g = images(3, 5, 4, 8, seed=6)
    dy, *expected = torch.autograd.grad((to_nhwc(out) * beta * g).sum(), [y, *leaves])

    given = [tensor.detach()[None] for tensor in leaves[1:]]
    rows = [tensor[None].clone() for tensor in running]
    moments = backend.moments(y.detach())[None]
    norm = backend.batch_norm(moments, 60, rows, given, 0.1, 1e-5, batch, [0])
    sums = [(g * factor).sum((0, 1, 2))[None] for factor in (1, y.detach())]
    found = backend.batch_norm_backward(norm, batch, 60, *sums, beta.detach())
    a, b, c = found[0][:, 0]
    assert_close(a * g + b * y.detach() + c, dy)
    assert_close(found[3], expected[0])
    if affine:
        assert_close([found[1][0], found[2][0]], expected[1:])
    alone = backend.batch_norm_backward(norm, batch, 60, *sums)
    assert alone[3] is None
    assert_close(alone[0] * beta.detach(), found[0])


def test_mixture(backend):
    moments, affine = images(2, 2, 8).abs(), [images(2, 8, seed=s) for s in (1, 2)]
    running = images(3, 8, seed=3), images(3, 8, seed=4).abs()
    moved, alone = [tuple(one.clone() for one in running) for _ in range(2)]
    shared = images(1, 2, 8, seed=5).abs()
    rows = [
        Rows(2, moments, moved, affine, 0.1, 1e-5, True, [2, 0]),
        Rows(1),
        Rows(2, shared, None, (), 0.1, 1e-5, True, range(2)),
    ]
    betas, places = images(7, seed=6), torch.tensor([5, 0, 2, 3, 1])
    edges = torch.tensor([1, 0, 1, 1, 0])
    mixed = backend.mixture(rows, 60, betas, places, edges, 3, 8, images(1, 2, 2, 8))
    norm, beta, scale, shift = mixed
    first = backend.batch_norm(moments, 60, alone, affine, 0.1, 1e-5, True, [2, 0])
    last = backend.batch_norm(shared, 60, None, (), 0.1, 1e-5, True, range(2))
    assert torch.equal(norm[:, :2], first) and torch.equal(norm[:, 3:], last)
    assert all(torch.equal(*pair) for pair in zip(moved, alone, strict=True))
    assert [float(value) for value in norm[:, 2, 0]] == [0, 1, 1, 0]
    assert torch.equal(beta, betas[places])
    assert_close(scale, beta[:, None] * norm[2])
    each = beta[:, None] * norm[3]
    assert_close(shift, torch.stack([each[1] + each[4], each[[0, 2, 3]].sum(0), 0 * each[0]]))

    totals, product = images(3, 8, seed=7), images(5, 8, seed=8)
    given = (norm, True, 60, totals, product, beta, edges, places, betas.float())
    *found, grads = backend.mixture_backward(*given)
    *expected, each = backend.batch_norm_backward(norm, True, 60, totals[edges], product, beta)
    assert_close(found, expected)
    assert grads.dtype == torch.float32
    assert_close(grads.double(), betas.new_zeros(7).index_add(0, places, each), 1e-6)


def test_mixture_of_nothing(backend):
    nothing = torch.tensor([], dtype=torch.long)
    image = images(1, 2, 2, 8)
    norm, *_, shift = backend.mixture([], 4, images(2), nothing, nothing, 2, 8, image)
    assert norm.shape == (4, 0, 8) and not shift.any() and shift.shape == (2, 8)


def test_shared_gradient(backend):
    g, y = images(2, 3, 4, 4, 8), images(3, 4, 4, 8, seed=1)
    a, b, c = coefficients = images(3, 2, 8, seed=2)
    expected = sum(a[e] * g[e] + b[e] * y + c[e] for e in range(2))
    assert_close(backend.shared_gradient(list(g), y, coefficients), expected)


class Separable(torch.autograd.Function):
    @staticmethod
    def forward(ctx, backend, x, scale, shift, depthwise, pointwise, conv):
        norm = None if scale is None else norm_of(scale, shift)
        y, moments = backend.separable_forward(x, norm, depthwise, pointwise, conv)
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
        norm = None if scale is None else norm_of(scale, shift)
        given = (x, norm, depthwise, pointwise, ctx.conv, into, False, True)
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


@pytest.mark.parametrize('kept', [True, False])
@pytest.mark.parametrize('size', [(4, 5), (1, 1), (9, 3), (6, 17)])
@pytest.mark.parametrize(('kernel', 'stride'), [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2)])
def test_inverted_bottleneck(backend, kernel, stride, size, kept):
    """Two edges against autograd; what goes through batch statistics is quadratic in the loss."""
    x, expand, project = images(2, *size, 8), images(2, 20, 8, seed=1), images(2, 16, 20, seed=2)
    depthwise, padding = images(2, 20, 1, kernel, kernel, seed=3), kernel // 2
    affine = [images(2, 20, seed=seed) + 2 for seed in range(4, 8)]
    leaves = [tensor.requires_grad_() for tensor in (x, expand, depthwise, project, *affine)]
    (scale_1, shift_1), (scale_2, shift_2) = affine[:2], affine[2:]
    back_1, back_2 = images(3, 2, 20, seed=9), images(3, 2, 16, seed=10)
    back_1[0] = scale_2.detach()
    wides, deeps, ys, gs, loss = [], [], [], [], 0
    for e in range(2):
        wides.append(x @ expand[e].t())
        active = F.relu6(wides[e] * scale_1[e] + shift_1[e])
        assert size == (1, 1) or ((active == 0).any() and (active == 6).any())
        deep = F.conv2d(to_nchw(active), depthwise[e], None, stride, padding, groups=20)
        deeps.append(to_nhwc(deep))
        y = F.relu6(deeps[e] * scale_2[e] + shift_2[e]) @ project[e].t()
        ys.append(y)
        gs.append(images(*y.shape, seed=11 + e))
        loss = loss + (y * (back_2[0, e] * gs[e] + back_2[1, e] * y / 2 + back_2[2, e])).sum()
        loss = loss + (deeps[e] * (back_1[1, e] * deeps[e] / 2 + back_1[2, e])).sum()
    expected = torch.autograd.grad(loss, leaves)

    with torch.no_grad():
        found, moments = backend.expand_forward(x, expand)
        assert_close(moments, moments_of(wides))
        norm_1, norm_2 = norm_of(*affine[:2]), norm_of(*affine[2:])
        first = (x, expand, found if kept else None, norm_1, depthwise, stride, padding)
        found, moments = backend.depthwise_forward(*first)
        assert_close(moments, moments_of(deeps))
        second = (found, norm_2, project)
        y, moments = backend.project_forward(*second)
        assert_close((*y, moments), (*ys, moments_of(ys)))
        start = images(*x.shape, seed=13)
        for weights in (True, False):
            into = start.clone()
            d, sums_2, d_project = backend.project_backward(gs, y, back_2, *second, weights)
            sums_1, *rest = backend.depthwise_backward(d, found, back_1, *first, into, weights)
            (bias_1, weight_1), (bias_2, weight_2) = sums_1.unbind(1), sums_2.unbind(1)
            norms = (weight_1, bias_1, weight_2, bias_2)
            assert_close((into - start, *norms), (expected[0], *expected[4:]))
            grads = (rest[1], rest[0], d_project)
            if weights:
                assert_close(grads, expected[1:4])
            else:
                assert grads == (None, None, None)


def moments_of(edges):
    """Mean and biased variance of [N, H, W, C] of each edge, [E, 2, C]."""
    found = [torch.var_mean(y, (0, 1, 2), correction=0) for y in edges]
    return torch.stack([torch.stack([mean, var]) for var, mean in found])


def test_relu6_keeps_nan(backend):
    x, expand, taps = images(1, 9, 9, 8), images(1, 16, 8, seed=1), images(1, 16, 1, 3, 3, seed=2)
    x[0, 2, 3, 1] = torch.nan
    norm = norm_of(torch.ones(1, 16), torch.zeros(1, 16))
    deep, _ = backend.depthwise_forward(x, expand, None, norm, taps, 1, 1)
    y, _ = backend.project_forward(deep, norm, images(1, 8, 16, seed=3))
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[1:4, 2:5] = True
    assert torch.equal(y[0, 0].isnan(), expected[..., None].expand(9, 9, 8))


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


def test_edges_without_a_matrix_read_no_image(cpp):
    """Nothing that folds runs on them: not even what is infinite reaches their results."""
    x, matrices = images(2, 3, 3, 16), images(3, 16, 16, seed=1)
    matrices[1] = 0
    outs = [torch.empty_like(x) for _ in range(3)]
    none = x.new_zeros(0, 16)
    cpp.mix(outs, [False] * 3, [], [], none, None, x, matrices)
    for out, matrix in zip(outs, matrices, strict=True):
        assert_close(out, x.relu() @ matrix.t())
    g = [images(2, 3, 3, 16, seed=s) for s in (2, 3, 4)]
    expected = (x > 0) * (g[0] @ matrices[0] + g[2] @ matrices[2])
    g[1][:] = torch.inf
    assert_close(cpp.input_grad(x, g, None, None, matrices), expected)
    x[:] = torch.inf
    cpp.mix(outs, [False] * 3, [], [], none, None, x, matrices)
    assert torch.equal(outs[1], torch.zeros_like(x)) and not outs[0].isfinite().any()


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


def test_terms_in_one_tensor_are_as_many_images(backend):
    """Three terms stacked between two others: the same mixture and sums in every bit."""
    stacked, x = images(3, 2, 3, 5, 16), images(2, 3, 5, 16, seed=1)
    terms, edge_of = [images(2, 3, 5, 16, seed=s) for s in (2, 3)], [0, 1, 0, 1, 1]
    whole = [terms[0], stacked, terms[1]]
    single = [terms[0], *stacked, terms[1]]
    scales, shifts = images(5, 16, seed=4), images(2, 16, seed=5)
    outs = {}
    for key, given in dict(whole=whole, single=single).items():
        outs[key] = [torch.full_like(x, torch.nan) for _ in shifts]
        backend.mix(outs[key], [False] * 2, given, edge_of, scales, shifts)
        outs[key] += backend.mix_sums([x, terms[0]], given, edge_of, None)[:2]
    assert all(map(torch.equal, outs['whole'], outs['single']))
    parts = [single[t] * scales[t] for t in (1, 3, 4)]
    assert_close(outs['whole'][1], sum(parts) + shifts[1])
    assert_close(outs['whole'][2][1], (terms[0] * stacked[0]).sum((0, 1, 2)))


def test_as_many_terms_as_their_edges(cpp):
    x, scales = images(3, 2, 3, 5, 16), images(3, 16, seed=1)
    for edge_of, said in (([0, 0], 'more terms than 2'), ([0] * 4, '3 terms, but 4')):
        with pytest.raises(RuntimeError, match=said):
            cpp.mix([torch.empty_like(x[0])], [False], [x], edge_of, scales)


@pytest.mark.parametrize('edge', [-1, 2])
def test_a_term_of_an_edge_that_there_is_not_is_refused(cpp, edge):
    x = images(2, 3, 5, 16)
    with pytest.raises(RuntimeError, match=f'of edge {edge}, but there are 2'):
        cpp.mix([x.clone(), x.clone()], [False] * 2, [x], [edge], images(1, 16))
    with pytest.raises(RuntimeError, match=f'of edge {edge}, but there are 2'):
        cpp.mix_sums([x, x], [x], [edge], None)


def test_as_many_gradients_as_edges(cpp):
    x, y = images(2, 5, 5, 8), images(2, 2, 5, 5, 8)
    layer = (None, images(2, 8, 1, 3, 3), images(2, 8, 8, 1, 1), (1, 1, 1))
    for g in ([y[0]], [y, y[0]]):
        with pytest.raises(RuntimeError, match=f'{1 if len(g) == 1 else 3} gradients, but 2 edges'):
            rest = (x, *layer, torch.empty_like(x), False, True)
            cpp.separable_backward(g, y, images(2, 3, 8), *rest)


@pytest.mark.parametrize('which', range(4))
def test_a_folded_norm_has_as_many_channels_as_its_input(cpp, which):
    norm = [torch.ones(8) for _ in range(4)]
    norm[which] = torch.ones(7)
    running, x = Running(*norm, 1e-5), torch.ones(1, 4, 4, 8)
    unit = Unit(torch.ones(8, 1, 3, 3), torch.ones(8, 8, 1, 1), running, (1, 1, 1))
    for call in (
        lambda: cpp.pointwise_folded([x], [torch.ones(8, 8, 1, 1)], running, 8, 8),
        lambda: cpp.separable_folded(x, [unit], torch.empty_like(x), False),
    ):
        with pytest.raises(RuntimeError, match='has 7 channels, but its input 8'):
            call()


@pytest.mark.parametrize('counts', [(16,), (8, 8), (10, 6)])
def test_gradients_of_pointwise_weights_are_in_memory_of_their_own(cpp, counts):
    x, y = images(2, 4, 4, 8), images(2, 4 // len(counts), 4 // len(counts), 16, seed=1)
    weights = [images(count, 8, 1, 1, seed=count) for count in counts]
    _, grads = cpp.pointwise_backward(y, y, images(3, 16), [x], weights, False, True)
    assert [grad.shape for grad in grads] == [weight.shape for weight in weights]
    assert len({grad.untyped_storage().data_ptr() for grad in grads}) == len(counts)
    for grad in grads:
        assert grad.untyped_storage().nbytes() == grad.nbytes


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
    y, _ = backend.separable_forward(x, None, depthwise, pointwise, (2, 1, 1))
    g = images(*y.shape, seed=3)
    a, b, c = e[:, :, None, None, None].unbind(1)
    dy = a * g + b * y + c

    def separable(g, coefficients, accumulate):
        into = images(*x.shape, seed=4) if accumulate else torch.full_like(x, torch.nan)
        rest = (x, None, depthwise, pointwise, (2, 1, 1), into, accumulate, True)
        dx, _, *grads = backend.separable_backward(g.unbind(0), y, coefficients, *rest)
        return dx.clone(), *grads

    expected = separable(dy, one, False)
    assert_close(separable(g, e, False), expected)
    rest = (x, None, depthwise, pointwise, (2, 1, 1), torch.empty_like(x), False, True)
    dx, _, *grads = backend.separable_backward([g], y, e, *rest)  # all edges in one tensor
    assert_close((dx, *grads), expected)
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
        y, _ = backend.separable_forward(x, None, *weights, (1, 1, 1))
        rest = (x, None, *weights, (1, 1, 1), into, False, False)
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
