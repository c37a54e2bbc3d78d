"""The Triton back end by Triton's interpreter, which a process has from its start or not at all.

It prints a JSON object: what was compared -> the error, relative to PyTorch's in float64.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from test_models.fused_nets import assert_same, collect, image, make
from test_models.kernel_images import images, slice_of_channels, tensors
from torch import Tensor

from rdarts.models.kernels.backends import Backend, get_backend, triton

Found = tuple[str, float]
KERNELS = ('mix', 'mix_sums', 'pool_forward', 'pool_backward')
TERMS = ([0, 1, 0, 1, 0], [0, 0, 1, 1, 1, 0, 1, 0, 0], [0, 0])


def error(found: object, expected: object) -> float:
    """The largest relative L2 distance of tensors to others, whose other numbers are the same."""
    worst = 0.0
    for one, other in zip(tensors(found), tensors(expected), strict=True):
        assert one.shape == other.shape
        one, other = one.double(), other.double()
        finite = other.isfinite()
        assert torch.equal(one.isfinite(), finite)
        assert torch.equal(one[~finite].nan_to_num(0), other[~finite].nan_to_num(0))
        distance = (one[finite] - other[finite]).norm()
        worst = max(worst, float(distance / other[finite].norm().clamp_min(1e-3)))
    return worst


def errors(name: str, run, *given: Tensor | None) -> Iterator[Found]:
    """Of ``run(backend, *given)`` in float64, and how far float32 is compared to PyTorch's own."""
    reference, own = get_backend('torch'), get_backend('triton')
    exact = run(reference, *given)
    yield f'{name} float64', error(run(own, *given), exact)
    less = [one if one is None else one.float() for one in given]
    yield f'{name} float32', error(run(own, *less), exact)
    yield f'{name} float32 of PyTorch', error(run(reference, *less), exact)


def stacked(terms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(terms))


def mixing(channels: int, edge_of: list[int]) -> Iterator[Found]:
    sizes = (2, 5, 7, channels)
    terms = stacked([images(*sizes, seed=t) for t in range(len(edge_of))])
    g = stacked([images(*sizes, seed=20 + j) for j in range(2)])
    wide = slice_of_channels(*sizes, seed=9)
    scales, shifts = images(len(edge_of), channels, seed=30), images(2, channels, seed=31)
    matrices = images(2, channels, channels, seed=32)

    def mix(backend: Backend, *given: Tensor | None) -> list[Tensor]:
        terms, g, wide, scales, shifts, x, matrices = given
        # the first term lies in a wider image, and the second result is added to
        outs = [torch.full_like(g[0], float('nan')), g[1].clone()]
        args = (edge_of, scales, shifts, x, matrices)
        backend.mix(outs, [False, True], [wide, *terms[1:]], *args)
        return outs

    def sums(backend: Backend, *given: Tensor | None) -> list[Tensor]:
        terms, g, wide, x = given
        found = backend.mix_sums([wide, g[1]], list(terms), edge_of, x)
        return [one for one in found if one is not None]

    name = f'of {channels} channels and {len(edge_of)} terms'
    for folds in (False, True):
        more = (shifts, g[0], matrices) if folds else (None, None, None)
        yield from errors(f'mix {name}, {folds=}', mix, terms, g, wide, scales, *more)
        yield from errors(f'sums {name}, {folds=}', sums, terms, g, wide, more[1])


def pooling(size: Sequence[int], maximum: bool, stride: int) -> Iterator[Found]:
    def pool(backend: Backend, x: Tensor) -> list[Tensor]:
        y, moments = backend.pool_forward(x, maximum, stride)
        dx = x.clone()
        backend.pool_backward(y.sin(), x, y, maximum, stride, dx)
        return [y, moments, dx]

    name = f'pool {size} {maximum=} {stride=}'
    yield from errors(name, pool, images(3, *size, 12))
    equal = images(3, *size, 8).round()  # many maxima are equal
    yield from errors(f'{name}, equal numbers', pool, equal)
    if maximum and max(size) > 1:
        equal[0, 0, 0, :4] = float('-inf')
        equal[1, -1, -1, 2] = equal[1, 0, 0, 3] = float('nan')
        yield from errors(f'{name}, NaN', pool, equal)


def half(dtype: torch.dtype) -> Iterator[Found]:
    """Images of 16 bits are summed in float32."""
    own, reference = get_backend('triton'), get_backend('torch')
    terms = [images(2, 5, 7, 8, seed=t, dtype=dtype) for t in range(3)]
    scales = images(3, 8, dtype=torch.float32)
    outs = []
    for backend, wide in ((own, dtype), (reference, torch.float64)):
        out = torch.empty(2, 5, 7, 8, dtype=wide)
        backend.mix([out], [False], [t.to(wide) for t in terms], [0] * 3, scales.to(wide))
        g = terms[0].to(wide)
        outs.append([out, *backend.mix_sums([g], [t.to(wide) for t in terms], [0] * 3, None)[:2]])
    yield f'mix {dtype}', error(*outs)


def supernet() -> Iterator[Found]:
    """A step of alpha and weights, node by node in Triton."""
    net, found = make('nas_bench_201', depth=1), {}
    for execution in ('fused', 'fused_triton'):
        net.execution = execution
        with noted(get_backend('triton')) as calls:
            found[execution] = collect(net, image(2, 5))
        yield f'{execution}: kernels that ran', float(len(calls))
    assert_same(found['fused_triton'], found['fused'])


@contextmanager
def noted(backend: Backend) -> Iterator[Counter[str]]:
    """Within, calls of the kernels in Triton are counted."""
    calls: Counter[str] = Counter()

    def note(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            calls[name] += 1
            return run(*args)

        return counted

    for name in KERNELS:
        setattr(backend, name, note(name, getattr(backend, name)))
    yield calls
    for name in KERNELS:
        delattr(backend, name)


def main() -> None:
    assert triton.is_interpreted()
    triton.TILE = triton.POOL_TILE = 256  # so that several programs share a small image
    found: list[Found] = []
    for channels, edge_of in zip((8, 20, 8), TERMS, strict=True):
        found += mixing(channels, edge_of)
    for size, maximum, stride in itertools.product(((5, 6), (1, 1)), (True, False), (1, 2)):
        found += pooling(size, maximum, stride)
    for dtype in (torch.bfloat16, torch.float16):
        found += half(dtype)
    found += supernet()
    print(json.dumps(dict(found)))


if __name__ == '__main__':
    main()
