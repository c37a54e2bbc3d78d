"""The work of the C++ operators, for ``FlopCounterMode``.

Multiplications and additions of convolutions and of products of matrices, as PyTorch counts its own
(Winograd's as those of the plain convolution, and nothing that is computed again). A convolution
and each of its two gradients cost alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from torch.utils.flop_counter import flop_registry, register_flop_formula

Shape = Sequence[int]


def _separable(y: Shape, depthwise: Shape, pointwise: Shape) -> int:
    """Of y [E, N, h, w, O]: a depthwise product of k k taps and a pointwise one a pixel."""
    taps, channels = math.prod(depthwise[3:]), depthwise[1]
    return 2 * math.prod(y[:4]) * channels * (taps + pointwise[1])


def formulas() -> dict[str, Any]:
    """The formula of each operator that has one, by its name; arguments are shapes."""

    def separable(
        x: Shape,
        norm: Shape | None,
        depthwise: Shape,
        pointwise: Shape,
        *args: Any,
        out_shape: Any,
    ) -> int:
        return _separable(out_shape[0], depthwise, pointwise)

    def separable_back(
        g: Sequence[Shape],
        y: Shape,
        coefficients: Shape,
        x: Shape,
        norm: Shape | None,
        depthwise: Shape,
        pointwise: Shape,
        *args: Any,
        **kwargs: Any,
    ) -> int:
        return _separable(y, depthwise, pointwise) * (2 if args[-1] else 1)

    def expand(x: Shape, weight: Shape, out_shape: Any) -> int:
        return 2 * math.prod(x[:3]) * math.prod(weight)

    def depthwise(
        x: Shape,
        expand: Shape,
        wide: Shape | None,
        norm: Shape,
        weight: Shape,
        *args: Any,
        out_shape: Any,
    ) -> int:
        taps = 2 * math.prod(out_shape[0][2:5]) * math.prod(weight)
        return taps + (2 * math.prod(x[:3]) * math.prod(expand) if wide is None else 0)

    def depthwise_back(
        g: Shape,
        y: Shape,
        coefficients: Shape,
        x: Shape,
        expand: Shape,
        wide: Shape | None,
        norm: Shape,
        weight: Shape,
        *args: Any,
        **kwargs: Any,
    ) -> int:
        taps = 2 * math.prod(y[2:5]) * math.prod(weight)
        return (taps + 2 * math.prod(x[:3]) * math.prod(expand)) * (2 if args[-1] else 1)

    def project(x: Shape, norm: Shape, weight: Shape, out_shape: Any) -> int:
        return 2 * math.prod(x[2:5]) * math.prod(weight)

    def project_back(
        g: Sequence[Shape],
        y: Shape,
        coefficients: Shape,
        x: Shape,
        norm: Shape,
        weight: Shape,
        weights: bool,
        **kwargs: Any,
    ) -> int:
        return 2 * math.prod(x[2:5]) * math.prod(weight) * (2 if weights else 1)

    def conv3x3(x: Shape, weight: Shape, out_shape: Any) -> int:
        return 2 * math.prod(x[:3]) * math.prod(weight)

    def conv3x3_back(
        g: Sequence[Shape],
        y: Shape,
        coefficients: Shape,
        x: Shape,
        weight: Shape,
        into: Shape,
        accumulate: bool,
        weights: bool,
        **kwargs: Any,
    ) -> int:
        return 2 * math.prod(x[:3]) * math.prod(weight) * (2 if weights else 1)

    def pointwise(x: Sequence[Shape], weights: Sequence[Shape], stride: int, out_shape: Any) -> int:
        return 2 * math.prod(out_shape[0]) * sum(one[-1] for one in x)

    def pointwise_back(
        g: Shape,
        y: Shape,
        coefficients: Shape,
        x: Sequence[Shape],
        weights: Sequence[Shape],
        stride: int,
        want_images: bool,
        want_weights: bool,
        **kwargs: Any,
    ) -> int:
        return 2 * math.prod(y) * sum(one[-1] for one in x) * (want_images + want_weights)

    def separable_folded(
        x: Shape,
        depthwise: Sequence[Shape],
        pointwise: Sequence[Shape],
        norms: Sequence[Shape],
        eps: Sequence[float],
        convs: Sequence[int],
        out: Shape,
        *args: Any,
        **kwargs: Any,
    ) -> int:
        # the first unit's stride is all that changes the size
        return 2 * math.prod(out[:3]) * sum(map(math.prod, [*depthwise, *pointwise]))

    def pointwise_folded(
        x: Sequence[Shape], weights: Sequence[Shape], *args: Any, out_shape: Any
    ) -> int:
        return 2 * math.prod(out_shape[:3]) * sum(map(math.prod, weights))

    def mixture(
        outs: Sequence[Shape],
        accumulate: Sequence[int],
        terms: Sequence[Shape],
        edge_of: Sequence[int],
        scales: Shape,
        shifts: Shape | None,
        x: Shape | None,
        matrices: Shape | None,
        **kwargs: Any,
    ) -> int:
        return 0 if matrices is None else 2 * math.prod(x[:3]) * math.prod(matrices)

    def mixture_sums(
        g: Sequence[Shape],
        terms: Sequence[Shape],
        edge_of: Sequence[int],
        x: Shape | None,
        **kwargs: Any,
    ) -> int:
        return 0 if x is None else 2 * len(g) * math.prod(x) * x[-1]

    def covariance(x: Shape, active: bool, **kwargs: Any) -> int:
        return 2 * math.prod(x) * x[-1]

    def through_matrices(
        x: Shape,
        g: Sequence[Shape],
        skips: Shape | None,
        dr: Shape | None,
        left: Shape | None,
        right: Shape | None,
        row: Shape | None,
        dx: Shape,
        **kwargs: Any,
    ) -> int:
        matrices = [matrix for matrix in (left, right) if matrix is not None]
        return sum(2 * math.prod(x[:3]) * math.prod(matrix) for matrix in matrices)

    return dict(
        separable_forward=separable,
        separable_backward=separable_back,
        expand_forward=expand,
        depthwise_forward=depthwise,
        depthwise_backward=depthwise_back,
        project_forward=project,
        project_backward=project_back,
        conv3x3_forward=conv3x3,
        conv3x3_backward=conv3x3_back,
        pointwise_forward=pointwise,
        pointwise_backward=pointwise_back,
        separable_folded=separable_folded,
        pointwise_folded=pointwise_folded,
        mix=mixture,
        mix_sums=mixture_sums,
        covariance=covariance,
        input_grad=through_matrices,
    )


def _count_sums_in_place() -> None:
    """Have PyTorch count ``addmm_`` too, of which it knows the form that makes a new tensor.

    Either back end adds products to a gradient where it is.
    """

    def product(into: Shape, left: Shape, right: Shape, *args: Any, **kwargs: Any) -> int:
        return 2 * math.prod(left) * right[1]

    operator = torch.ops.aten.addmm_
    if operator not in flop_registry:
        register_flop_formula(operator)(product)


_count_sums_in_place()


def register() -> None:
    """Tell PyTorch, once the operators are there."""
    found = {getattr(torch.ops.rdarts, name): work for name, work in formulas().items()}
    for operator, formula in found.items():
        register_flop_formula(operator)(formula)
    # A counter that is open already has its own copy of the registry
    for mode in _get_current_dispatch_mode_stack():
        counter = getattr(mode, 'counter', None)
        if hasattr(counter, 'flop_registry'):
            counter.flop_registry.update({one: flop_registry[one] for one in found})
