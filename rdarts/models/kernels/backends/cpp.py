"""The kernels in C++, on CPUs: ``csrc/``, compiled at the first use and kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rdarts.models.kernels.backends.base import Conv, Rows, Running, Unit
from rdarts.models.kernels.backends.build import load_library, why_left_out
from rdarts.models.kernels.backends.torch import TorchBackend
from rdarts.models.kernels.layout import to_nhwc

LANES = 8  # the channels of a pixel are read in vectors


class CppBackend(TorchBackend):
    """Operators of ``torch.ops.rdarts``; what has none is made of PyTorch's functions."""

    name, title = 'cpp', 'C++'
    is_reference = False
    has_pointwise = True
    draws_noise = True

    def unsupported_reasons(
        self, device: torch.device, dtype: torch.dtype, channels: Sequence[int]
    ) -> list[str]:
        left_out = why_left_out()
        if left_out is not None:
            return [left_out]
        reasons = []
        if device.type != 'cpu':
            reasons.append(f'images are on {device.type}, and it runs on CPUs')
        if dtype not in (torch.float32, torch.float64):
            reasons.append(f'it has no {str(dtype).removeprefix("torch.")}')
        if any(count % LANES for count in channels):
            numbers = ' and '.join(str(count) for count in dict.fromkeys(channels))
            reasons.append(f'{numbers} channels are no multiple of {LANES}')
        if not reasons:  # compiled where it is needed only
            problem = load_library()
            reasons += [] if problem is None else [problem]
        return reasons

    def gradient_to_nhwc(self, image: Tensor) -> Tensor:
        # channels of a larger tensor are taken as they are
        view = image.permute(0, 2, 3, 1)
        _, height, width, channels = view.shape
        step = view.stride(2)
        strides = (height * width * step, width * step, step, 1)
        return view if view.stride() == strides and step >= channels else to_nhwc(image)

    def fill_normal(self, out: Tensor, seed: int) -> None:
        torch.ops.rdarts.standard_normal(out, seed)

    def moments(self, y: Tensor) -> Tensor:
        return torch.ops.rdarts.moments(y)

    def batch_norm(
        self,
        moments: Tensor,
        count: int,
        running: tuple[Tensor, Tensor] | None,
        affine: Sequence[Tensor],
        momentum: float,
        eps: float,
        batch: bool,
        chosen: Sequence[int],
    ) -> Tensor:
        # the operator moves them where they lie, row by row
        mean, var = whole = [one.contiguous() for one in running or ()] or (None, None)
        weight, bias = affine or (None, None)
        found = torch.ops.rdarts.batch_norm(
            moments, count, mean, var, weight, bias, momentum, eps, batch, list(chosen)
        )
        for one, moved in zip(running or (), whole, strict=False):
            if moved is not one:
                one.copy_(moved)
        return found

    def batch_norm_backward(
        self,
        norm: Tensor,
        batch: Tensor | bool,
        count: int,
        total: Tensor,
        product: Tensor,
        beta: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        flags = (False, batch) if isinstance(batch, Tensor) else (batch, None)
        *found, grad = torch.ops.rdarts.batch_norm_backward(
            norm, *flags, count, total, product, beta
        )
        return *found, None if beta is None else grad

    def mixture(
        self,
        rows: Sequence[Rows],
        count: int,
        betas: Tensor,
        places: Tensor,
        edges: Tensor,
        num_edges: int,
        channels: int,
        like: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        moments: list[Tensor] = []
        running: list[Tensor] = []
        affine: list[Tensor] = []
        chosen: list[int] = []
        forms: list[int] = []
        numbers: list[float] = []
        for one in rows:
            form = 0
            if one.moments is not None:
                form = (
                    1
                    | (0 if one.running is None else 2)
                    | (4 if one.affine else 0)
                    | (8 if one.batch else 0)
                )
                moments.append(one.moments)
                running += one.running or ()
                affine += one.affine
                chosen += one.chosen
                numbers += (one.momentum, one.eps)
            forms += (one.edges, form)
        # the operator moves them where they lie, row by row
        whole = [one.contiguous() for one in running]
        lists = (moments, whole, affine, chosen, forms, numbers)
        of_rows = (betas, places, edges, num_edges, channels, like)
        found = torch.ops.rdarts.mixture(*lists, count, *of_rows)
        for one, moved in zip(running, whole, strict=True):
            if moved is not one:
                one.copy_(moved)
        return found

    def mixture_backward(
        self,
        norm: Tensor,
        batch: Tensor | bool,
        count: int,
        totals: Tensor,
        product: Tensor,
        beta: Tensor,
        edges: Tensor,
        places: Tensor,
        betas: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        flags = (False, batch) if isinstance(batch, Tensor) else (batch, None)
        return torch.ops.rdarts.mixture_backward(
            norm, *flags, count, totals, product, beta, edges, places, betas
        )

    def shared_gradient(self, g: Sequence[Tensor], y: Tensor, coefficients: Tensor) -> Tensor:
        return torch.ops.rdarts.shared_gradient(list(g), y, coefficients)

    def separable_forward(
        self,
        x: Tensor,
        norm: Tensor | None,
        depthwise: Tensor,
        pointwise: Tensor,
        conv: Conv,
    ) -> tuple[Tensor, Tensor]:
        return torch.ops.rdarts.separable_forward(x, norm, depthwise, pointwise, *conv)

    def separable_backward(
        self,
        g: Sequence[Tensor],
        y: Tensor,
        coefficients: Tensor,
        x: Tensor,
        norm: Tensor | None,
        depthwise: Tensor,
        pointwise: Tensor,
        conv: Conv,
        into: Tensor | None,
        accumulate: bool,
        weights: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        layer = (x, norm, depthwise, pointwise, *conv)
        dx, sums, *grads = torch.ops.rdarts.separable_backward(
            list(g), y, coefficients, *layer, into, accumulate, weights
        )
        if into is not None:
            dx, sums = into, None
        return dx, sums, *(grads if weights else (None, None))

    def separable_folded(
        self, x: Tensor, units: Sequence[Unit], out: Tensor, accumulate: bool
    ) -> None:
        depthwise, pointwise, norms, convs = zip(*units, strict=True)
        torch.ops.rdarts.separable_folded(
            x,
            list(depthwise),
            list(pointwise),
            [tensor for norm in norms for tensor in norm[:4]],
            [norm.eps for norm in norms],
            [number for conv in convs for number in conv],
            out,
            accumulate,
        )

    def keeps_expansion(self, pixels: int, channels: int) -> bool:
        # what their covariance costs grows with the square of the channels of x
        return pixels < 32 * channels

    def expand_forward(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ops.rdarts.expand_forward(x, weight)

    def depthwise_forward(
        self,
        x: Tensor,
        expand: Tensor,
        wide: Tensor | None,
        norm: Tensor,
        weight: Tensor,
        stride: int,
        padding: int,
    ) -> tuple[Tensor, Tensor]:
        return torch.ops.rdarts.depthwise_forward(x, expand, wide, norm, weight, stride, padding)

    def project_forward(self, x: Tensor, norm: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ops.rdarts.project_forward(x, norm, weight)

    def project_backward(
        self,
        g: Sequence[Tensor],
        y: Tensor,
        coefficients: Tensor,
        x: Tensor,
        norm: Tensor,
        weight: Tensor,
        weights: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        layer = (x, norm, weight)
        d, sums, dw = torch.ops.rdarts.project_backward(list(g), y, coefficients, *layer, weights)
        return d, sums, dw if weights else None

    def depthwise_backward(
        self,
        g: Tensor,
        y: Tensor,
        coefficients: Tensor,
        x: Tensor,
        expand: Tensor,
        wide: Tensor | None,
        norm: Tensor,
        weight: Tensor,
        stride: int,
        padding: int,
        into: Tensor,
        weights: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        layer = (x, expand, wide, norm, weight, stride, padding)
        sums, *grads = torch.ops.rdarts.depthwise_backward(
            g, y, coefficients, *layer, into, weights
        )
        return sums, *(grads if weights else (None, None))

    def empty_images(self, like: Tensor, channels: int, height: int, width: int) -> Tensor:
        return torch.ops.rdarts.empty_images((like.shape[0], channels, height, width), like)

    def mix(
        self,
        outs: Sequence[Tensor],
        accumulate: Sequence[bool],
        terms: Sequence[Tensor],
        edge_of: Sequence[int],
        scales: Tensor,
        shifts: Tensor | None = None,
        x: Tensor | None = None,
        matrices: Tensor | None = None,
    ) -> None:
        torch.ops.rdarts.mix(
            list(outs), list(accumulate), list(terms), list(edge_of), scales, shifts, x, matrices
        )

    def mix_sums(
        self, g: Sequence[Tensor], terms: Sequence[Tensor], edge_of: Sequence[int], x: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        products, totals, matrices = torch.ops.rdarts.mix_sums(
            list(g), list(terms), list(edge_of), x
        )
        return products, totals, None if x is None else matrices

    def covariance(self, x: Tensor, active: bool) -> tuple[Tensor, Tensor]:
        return torch.ops.rdarts.covariance(x, active)

    def input_grad(
        self,
        x: Tensor,
        g: Sequence[Tensor],
        skips: Tensor | None,
        dr: Tensor | None,
        left: Tensor | None = None,
        right: Tensor | None = None,
        row: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        if out is None:
            out = to_nhwc(self.empty_images(x, x.shape[-1], *x.shape[1:3]))
        torch.ops.rdarts.input_grad(x, list(g), skips, dr, left, right, row, out)
        return out

    def pool_forward(self, x: Tensor, maximum: bool, stride: int) -> tuple[Tensor, Tensor]:
        return torch.ops.rdarts.pool_forward(x, maximum, stride)

    def pool_backward(
        self, dy: Tensor, x: Tensor, y: Tensor, maximum: bool, stride: int, dx: Tensor
    ) -> None:
        torch.ops.rdarts.pool_backward(dy, x, y, maximum, stride, dx)

    def dense_forward(self, x: Tensor, weight: Tensor, conv: Conv) -> tuple[Tensor, Tensor]:
        if not _is_3x3(weight, conv):
            return super().dense_forward(x, weight, conv)
        return torch.ops.rdarts.conv3x3_forward(x, weight)

    def dense_backward(
        self,
        g: Sequence[Tensor],
        y: Tensor,
        coefficients: Tensor,
        x: Tensor,
        weight: Tensor,
        conv: Conv,
        into: Tensor,
        accumulate: bool,
        weights: bool,
    ) -> Tensor | None:
        if not _is_3x3(weight, conv):
            args = (g, y, coefficients, x, weight, conv, into, accumulate, weights)
            return super().dense_backward(*args)
        dw = torch.ops.rdarts.conv3x3_backward(
            list(g), y, coefficients, x, weight, into, accumulate, weights
        )
        return dw if weights else None

    def pointwise_forward(
        self, x: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        return torch.ops.rdarts.pointwise_forward(list(x), list(weights), len(weights))

    def pointwise_backward(
        self,
        g: Tensor,
        y: Tensor,
        coefficients: Tensor,
        x: Sequence[Tensor],
        weights: Sequence[Tensor],
        want_images: bool,
        want_weights: bool,
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        images, found = torch.ops.rdarts.pointwise_backward(
            g, y, coefficients, list(x), list(weights), len(weights), want_images, want_weights
        )
        return images or [None] * len(x), found or [None] * len(weights)

    def pointwise_folded(
        self,
        x: Sequence[Tensor],
        weights: Sequence[Tensor],
        norm: Running,
        channels: int,
        outputs: int,
    ) -> Tensor:
        return torch.ops.rdarts.pointwise_folded(
            list(x), list(weights), list(norm[:4]), norm.eps, len(weights), channels, outputs
        )


def _is_3x3(weight: Tensor, conv: Conv) -> bool:
    outputs, inputs = weight.shape[1:3]
    return weight.shape[-1] == 3 and conv == (1, 1, 1) and not (outputs % LANES or inputs % LANES)
