"""Each kernel gives the same in C++ and in PyTorch."""

from __future__ import annotations

import pytest
import torch
from test_models.kernel_images import (
    assert_close,
    assert_twins,
    images,
    norm_of,
    out_size,
    slice_of_channels,
    strewn,
)

from rdarts.models.kernels import Rows, Running, Unit

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
    # channels that fill the longest vectors or do not; two rows of tiles and what is left of them
    (48, 16, 5, (2, 4, 2), 2, False, (10, 27)),
    (16, 48, 3, (2, 2, 2), 2, True, (9, 29)),
    (8, 16, 5, (1, 4, 2), 2, False, (6, 13)),
    (40, 8, 3, (3, 1, 1), 1, True, (7, 10)),
    # channels that are constants; eight pixels, four and one, and rows of taps that are all there
    (16, 16, 5, (1, 4, 2), 2, False, (9, 29)),
    (32, 32, 5, (1, 2, 1), 2, True, (7, 13)),
    (64, 64, 3, (1, 1, 1), 2, True, (6, 12)),
    (64, 64, 5, (2, 2, 1), 2, False, (8, 26)),
]


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ('channels', 'outputs', 'kernel', 'conv', 'edges', 'shared', 'size'), SEPARABLE
)
def test_separable_twins(cpp, channels, outputs, kernel, conv, edges, shared, size, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    lead = () if shared else (edges,)
    x = images(*lead, 3, *size, channels, dtype=dtype)
    norm = None
    if not shared:
        norm = norm_of(images(edges, channels, seed=1), images(channels, edges, seed=2).t())
    depthwise = images(channels, edges, 1, kernel, kernel, seed=3, dtype=dtype).transpose(0, 1)
    pointwise = strewn(images(edges, outputs, channels, 1, 1, seed=4, dtype=dtype))
    layer = (norm, depthwise, pointwise, conv)
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


def running(channels, dtype, seed):
    weight, bias, mean = (images(channels, dtype=dtype, seed=seed + i) for i in range(3))
    return Running(weight, bias, mean, images(channels, dtype=dtype, seed=seed + 3).abs(), 1e-3)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ('channels', 'units', 'size'),
    [
        # outputs, kernel, conv of each unit
        (8, [(8, 3, (1, 1, 1)), (8, 3, (1, 1, 1))], (8, 8)),
        (12, [(12, 5, (2, 2, 1)), (20, 5, (1, 2, 1))], (9, 11)),
        (36, [(36, 3, (1, 2, 2))], (7, 10)),
        (20, [(16, 7, (2, 6, 2)), (4, 3, (1, 1, 1)), (30, 5, (1, 4, 2))], (8, 17)),
    ],
)
def test_folded_separable_twins(cpp, channels, units, size, dtype):
    x = images(3, *size, -(-channels // 8) * 8, dtype=dtype)
    given, width, height = [], channels, list(size)
    for outputs, kernel, conv in units:
        depthwise = strewn(images(width, 1, kernel, kernel, seed=1, dtype=dtype))
        pointwise = images(outputs, width, 1, 1, seed=2, dtype=dtype)
        given.append(Unit(depthwise, pointwise, running(outputs, dtype, 3), conv))
        width, height = outputs, [out_size(side, kernel, conv) for side in height]

    def run(backend, accumulate):
        out = images(3, *height, -(-width // 8) * 8, seed=9, dtype=dtype)
        backend.separable_folded(x, given, out, accumulate)
        return (out,)

    for accumulate in (True, False):
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        assert_twins('separable_folded', run, accumulate, tolerance=tolerance)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('counts', [(36,), (40,), (18, 18), (10, 7)])
@pytest.mark.parametrize(('inputs', 'channels'), [(1, 24), (4, 12)])
@pytest.mark.parametrize(('size', 'behind'), [((8, 8), 0), ((7, 5), 16), ((1, 1), 0)])
def test_folded_pointwise_twins(cpp, counts, inputs, channels, size, behind, dtype):
    width, total = -(-channels // 8) * 8, sum(counts)
    xs = [images(3, *size, width, seed=i, dtype=dtype) for i in range(inputs)]
    weights = [images(n, inputs * channels, 1, 1, seed=8, dtype=dtype) for n in counts]
    args = (xs, weights, running(total, dtype, 3), channels, -(-total // 8) * 8 + behind)

    def run(backend):
        return (backend.pointwise_folded(*args),)

    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert_twins('pointwise_folded', run, tolerance=tolerance)


def channels_of(image, count):
    """[E, N, H, W, C] of what lies in blocks of channels in C++, [E, blocks, N, H, W, channels]."""
    return image.permute(0, 2, 3, 4, 1, 5).flatten(4)[..., :count] if image.dim() == 6 else image


@pytest.fixture(params=[1, 3], ids='{} threads'.format)
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('kept', [True, False])
@pytest.mark.parametrize(
    ('channels', 'inner', 'outputs', 'kernel', 'stride', 'size'),
    [
        (24, 72, 24, 3, 1, (9, 11)),
        (16, 96, 24, 5, 2, (8, 7)),
        (24, 144, 40, 7, 1, (1, 1)),
        (8, 20, 48, 3, 2, (17, 4)),
        (40, 120, 80, 7, 2, (7, 35)),
        (8, 24, 8, 5, 1, (32, 33)),
        (16, 192, 24, 3, 1, (4, 4)),  # blocks enough for three threads in float32, too
    ],
)
def test_inverted_twins(cpp, threads, channels, inner, outputs, kernel, stride, size, kept, dtype):
    """Pixels that are few are shared out as blocks, where there are enough for the threads."""
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    x = images(3, *size, channels, dtype=dtype)
    expand = strewn(images(2, inner, channels, seed=1, dtype=dtype) / channels**0.5)
    norms = [norm_of(*(images(2, inner, seed=seed) + 1 for seed in (n, n + 1))) for n in (2, 4)]
    taps = strewn(images(2, inner, 1, kernel, kernel, seed=6, dtype=dtype) / kernel)
    project = strewn(images(2, outputs, inner, seed=7, dtype=dtype) / inner**0.5)
    back_1, back_2 = images(3, 2, inner, seed=8), strewn(images(3, 2, outputs, seed=9))

    def run(backend, weights):
        wide, moments = backend.expand_forward(x, expand)
        first = (x, expand, wide if kept else None, norms[0], taps, stride, kernel // 2)
        deep, moments_2 = backend.depthwise_forward(*first)
        second = (deep, norms[1], project)
        y, moments_3 = backend.project_forward(*second)
        g = [slice_of_channels(*y.shape[1:], seed=seed, dtype=dtype) for seed in (10, 11)]
        d, sums, *grads = backend.project_backward(g, y, back_2, *second, weights)
        into = images(*x.shape, seed=12, dtype=dtype)
        sums_2, *rest = backend.depthwise_backward(d, deep, back_1, *first, into, weights)
        found = [channels_of(one, inner) for one in (wide, deep, d)]
        grads = [*grads, *rest] if weights else []
        return [*found, y, into, moments, moments_2, moments_3, sums, sums_2, *grads]

    for weights in (True, False):
        assert_twins('depthwise_backward', run, weights, tolerance=tolerance)


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
        (48, 16, 1, (5, 6)),
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
    for active in (True, False):
        assert_twins('covariance', 'covariance', x, active, tolerance=tolerance)


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


@pytest.mark.parametrize('mixed', [False, True])
@pytest.mark.parametrize('batch', [True, False, None])
def test_batch_norm_backward_twins(cpp, mixed, batch):
    norm = strewn(images(4, 3, 24))
    total, product = images(24, 3, seed=1).t(), strewn(images(3, 24, seed=2))
    beta = images(3, seed=3) if mixed else None
    if batch is None:  # of each edge
        batch = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)

    def run(backend):
        *found, grad = backend.batch_norm_backward(norm, batch, 90, total, product, beta)
        assert (grad is None) is (not mixed)
        return [*found, *([grad] if mixed else [])]

    assert_twins('batch_norm_backward', run)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_mixture_twins(cpp, dtype):
    running = [strewn(images(4, 8, seed=s).abs().to(dtype)) for s in (1, 2)]
    affine = [strewn(images(2, 8, seed=s).to(dtype)) for s in (3, 4)]
    moments, image = strewn(images(2, 2, 8).abs()), images(1, 2, 2, 8, dtype=dtype)
    betas, places = strewn(images(6, seed=5).to(dtype)), torch.tensor([4, 2, 0, 1])
    edges = torch.tensor([0, 2, 2, 0])

    def run(backend):
        moved = tuple(one.clone(memory_format=torch.preserve_format) for one in running)
        rows = [
            Rows(2, moments, moved, affine, 0.2, 1e-5, True, [3, 1]),
            Rows(1),
            Rows(1, moments[:1], moved, (), 0.2, 1e-5, False, [2]),
        ]
        found = backend.mixture(rows, 90, betas, places, edges, 4, 8, image)
        return [*found, *moved]

    assert_twins('mixture', run, tolerance=1e-12 if dtype.itemsize > 4 else 1e-6)


def test_mixture_backward_twins(cpp):
    norm, totals = strewn(images(4, 3, 24)), images(24, 2, seed=1).t()
    product, beta = strewn(images(3, 24, seed=2)), images(3, seed=3)
    where = torch.tensor([1, 0, 1]), torch.tensor([4, 0, 2])
    for batch in (True, torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)):
        args = (norm, batch, 90, totals, product, beta, *where, images(6, seed=4))
        assert_twins('mixture_backward', 'mixture_backward', *args)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_shared_gradient_twins(cpp, dtype):
    g = [slice_of_channels(3, 5, 7, 16, seed=s, dtype=dtype) for s in range(3)]
    y, coefficients = images(3, 5, 7, 16, dtype=dtype), images(3, 3, 16, seed=9, dtype=dtype)
    args = (g, y, strewn(coefficients))
    tolerance = 1e-12 if dtype.itemsize > 4 else 1e-6
    assert_twins('shared_gradient', 'shared_gradient', *args, tolerance=tolerance)


def test_a_thread_more_or_less(cpp):
    """What threads sum is one sum; images are shared out, whatever their number."""
    before = torch.get_num_threads()
    x = images(5, 7, 9, 16)
    weights = images(2, 16, 1, 3, 3, seed=1), images(2, 16, 16, 1, 1, seed=2)
    dense = images(2, 16, 16, 3, 3, seed=3)
    g = [images(5, 7, 9, 16, seed=s) for s in (4, 5)]
    coefficients = images(2, 3, 16, seed=6)
    # 72 channels are blocks enough for one thread to take its few pixels by them, but not for three
    expand, taps = images(2, 72, 16, seed=7), images(2, 72, 1, 3, 3, seed=8)
    project, after = images(2, 16, 72, seed=9), images(3, 2, 72, seed=10)
    norm = norm_of(images(2, 72, seed=11), images(2, 72, seed=12))

    def run():
        y, moments = cpp.separable_forward(x, None, *weights, (1, 1, 1))
        into = torch.empty_like(x)
        rest = (x, None, *weights, (1, 1, 1), into, False, True)
        _, _, *grads = cpp.separable_backward(g, y, coefficients, *rest)
        z, more = cpp.dense_forward(x, dense, (1, 1, 1))
        grad = cpp.dense_backward(g, z, coefficients, x, dense, (1, 1, 1), into, True, True)
        pooled = cpp.pool_forward(x, True, 2)
        first = (x, expand, None, norm, taps, 1, 1)
        deep, more_2 = cpp.depthwise_forward(*first)
        flat, more_3 = cpp.project_forward(deep, norm, project)
        d, *inverted = cpp.project_backward(g, flat, after[:, :, :16], deep, norm, project, True)
        inverted += cpp.depthwise_backward(d, deep, after, *first, into, True)
        inverted += [flat, more_2, more_3]
        sums = cpp.mix_sums(g, [x, z[0]], [0, 1], x)
        found = [y, moments, *grads, z, more, grad, into, *pooled, *sums, cpp.moments(x)]
        return [*found, *inverted]

    try:
        torch.set_num_threads(1)
        one = run()
        torch.set_num_threads(3)
        found = run()
        assert_close(found, one)
        # in whatever order threads end
        again = [run() for _ in range(20)]
        assert all(torch.equal(a, b) for run in again for a, b in zip(run, found, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize('weights', [True, False])
def test_inverted_bottlenecks_of_no_image(cpp, weights):
    x, expand, norm = images(0, 5, 5, 16), images(2, 40, 16), norm_of(*images(2, 2, 40))
    first = (x, expand, None, norm, images(2, 40, 1, 3, 3), 1, 1)
    deep, _ = cpp.depthwise_forward(*first)
    project, back = images(2, 8, 40), images(3, 2, 40)
    y, _ = cpp.project_forward(deep, norm, project)
    assert y.shape == (2, 0, 5, 5, 8)
    g = [one.clone() for one in y]
    d, *found = cpp.project_backward(g, y, back[:, :, :8], deep, norm, project, weights)
    found += cpp.depthwise_backward(d, deep, back, *first, torch.empty_like(x), weights)
    found = [one for one in found if one is not None]
    assert len(found) == (5 if weights else 2)
    assert not any(one.any() for one in found)
