"""A call or more of every C++ operator, with each of its arguments given and left out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

IMAGE = (2, 5, 6, 8)  # N, H, W, C; there are two edges, and O is 16
EPS = 1e-5


def real(*sizes: int) -> Tensor:
    return torch.randn(*sizes, dtype=torch.float64)


def operator_calls() -> dict[str, list[tuple[Any, ...]]]:
    """Operator -> the arguments of each call."""
    x, each = real(*IMAGE), real(2, *IMAGE)
    # half the resolution, 3 x 3; a separable 5x5 convolution of dilation 2 gives that, too
    taps, points, conv = real(2, 8, 1, 5, 5), real(2, 16, 8, 1, 1), (2, 4, 2)
    separable = ([real(2, 3, 3, 16), real(2, 3, 3, 16)], real(2, 2, 3, 3, 16), real(2, 3, 16))
    of_x, of_each = (x, None, taps, points, *conv), (each, real(4, 2, 8), taps, points, *conv)
    half = real(2, 3, 3, 8)
    # inverted bottlenecks whose 20 channels are three blocks of 8
    wide, deep = real(2, 3, 2, 5, 6, 8), real(2, 3, 2, 3, 3, 8)
    norm_of_wide, taps_of_wide = real(4, 2, 20), (real(2, 20, 1, 3, 3), 2, 1)
    inverted = [(x, real(2, 20, 8), one, norm_of_wide, *taps_of_wide) for one in (wide, None)]
    projection = (deep, norm_of_wide, real(2, 16, 20))
    dense = real(2, 16, 8, 3, 3)
    of_dense = ([real(2, 5, 6, 16), real(2, 5, 6, 16)], real(2, 2, 5, 6, 16), real(2, 3, 16))
    nodes, whole = [x, real(2, 5, 6, 16)], [real(8, 24, 1, 1)]
    branches = [real(8, 24, 1, 1), real(16, 24, 1, 1)]
    moments, sums = real(2, 2, 8).abs(), (60, real(2, 8), real(2, 8))
    running = (real(3, 8), real(3, 8).abs())
    norm, edges = real(4, 2, 8), torch.tensor([0, 1, 1])
    return dict(
        separable_forward=[of_x, of_each],
        separable_backward=[
            (*separable, *of_x, real(*IMAGE), True, True),
            (*separable, *of_x, real(*IMAGE), False, False),
            (*separable, *of_each, None, False, True),
            (*separable, *of_each, None, False, False),
        ],
        mix=[
            ([each[0], each[1]], [1, 0], [x, x], [0, 1], real(2, 8), real(2, 8), x, real(2, 8, 8)),
            ([each[0], each[1]], [0, 0], [x], [1], real(1, 8), None, None, None),
        ],
        mix_sums=[([x, x], [x, x, x], [0, 1, 1], x), ([x, x], [x], [0], None)],
        covariance=[(x, True), (x, False)],
        input_grad=[
            (x, [x, x], real(2), x, real(2, 8, 8), real(8, 8), real(8), real(*IMAGE)),
            (x, [], None, None, None, None, None, real(*IMAGE)),
        ],
        expand_forward=[(x, real(2, 20, 8))],
        depthwise_forward=inverted,
        depthwise_backward=[
            (deep, deep, real(3, 2, 20), *layer, real(*IMAGE), weights)
            for layer in inverted
            for weights in (True, False)
        ],
        project_forward=[projection],
        project_backward=[
            ([real(2, 3, 3, 16)] * 2, real(2, 2, 3, 3, 16), real(3, 2, 16), *projection, weights)
            for weights in (True, False)
        ],
        conv3x3_forward=[(x, dense)],
        conv3x3_backward=[
            (*of_dense, x, dense, real(*IMAGE), weights, weights) for weights in (True, False)
        ],
        moments=[(x,)],
        pointwise_forward=[(nodes, whole, 1), (nodes, branches, 2)],
        pointwise_backward=[
            (x, x, real(3, 8), nodes, whole, 1, True, True),
            (real(2, 3, 3, 24), real(2, 3, 3, 24), real(3, 24), nodes, branches, 2, True, False),
            (real(2, 3, 3, 24), real(2, 3, 3, 24), real(3, 24), nodes, branches, 2, False, True),
        ],
        separable_folded=[
            (
                real(2, 5, 6, 16),
                [real(12, 1, 5, 5), real(10, 1, 5, 5)],
                [real(10, 12, 1, 1), real(14, 10, 1, 1)],
                [real(count).abs() for count in (10,) * 4 + (14,) * 4],
                [EPS, EPS],
                [2, 4, 2, 1, 2, 1],
                real(2, 3, 3, 16),
                accumulate,
            )
            for accumulate in (True, False)
        ],
        pointwise_folded=[
            (
                [real(2, 5, 6, 16)] * 2,
                [real(count, 24, 1, 1) for count in counts],
                [real(sum(counts)).abs() for _ in range(4)],
                EPS,
                len(counts),
                12,
                24,
            )
            for counts in ([20], [11, 7])
        ],
        pool_forward=[(x, True, 2), (x, False, 1)],
        pool_backward=[(half, x, half, maximum, 2, real(*IMAGE)) for maximum in (True, False)],
        standard_normal=[(torch.empty(40), 3)],
        empty_images=[((2, 16, 3, 4), x)],
        batch_norm=[
            (moments, 60, *running, real(2, 8), real(2, 8), 0.1, EPS, True, [0, 2]),
            (moments[:1], 60, None, None, None, None, 0.1, EPS, True, [0, 1, 2]),
            (moments, 60, *running, None, None, 0.1, EPS, False, [2, 1]),
        ],
        batch_norm_backward=[
            (norm, True, None, *sums, real(2)),
            (norm, False, real(2).abs(), *sums, None),
        ],
        mixture=[
            (
                *([moments, moments[:1]], [*running], [real(1, 8), real(1, 8)], [0, 2, 0]),
                *([2, 11, 1, 0, 1, 13], [0.1, EPS, 0.1, EPS], 60, real(5)),
                *(torch.tensor([0, 4, 2, 1]), torch.tensor([0, 1, 1, 0]), 3, 8, x),
            ),
            ([], [], [], [], [3, 0], [], 60, real(3).float(), edges, edges, 2, 8, x.float()),
        ],
        mixture_backward=[
            (norm, True, None, 60, real(3, 8), real(2, 8), real(2), edges[:2], edges[1:], real(3)),
            (
                *(norm, False, real(2).abs(), 60, real(2, 8), real(2, 8), real(2)),
                *(edges[:2], edges[:2], real(2).float()),
            ),
        ],
        shared_gradient=[([x, x], x, real(3, 2, 8))],
    )
