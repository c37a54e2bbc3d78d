"""The kernels as PyTorch's functions: the reference, and what runs where no other back end does.

Longer than 400 lines: the kernels of one protocol, each of them short.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rdarts.models.kernels import normal, norms
from rdarts.models.kernels.backends.base import Backend, Conv, Running, Unit
from rdarts.models.kernels.layout import each_image, to_nchw, to_nhwc
from rdarts.models.kernels.precision import needs_float32, wide_type


def _moments(y: Tensor, dims: Sequence[int]) -> Tensor:
    if y.dtype in (torch.float16, torch.bfloat16):
        y = y.float()
    var, mean = torch.var_mean(y, dims, correction=0)
    return torch.stack([mean, var], -2).double()


def _sum(image: Tensor) -> Tensor:
    return image.sum((0, 1, 2), dtype=torch.float64)


def _activated(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    return torch.relu(x) if scale is None else torch.relu(x * scale + shift).to(x.dtype)


def _conv_backward(
    g: Tensor, x: Tensor, weight: Tensor, conv: Conv, groups: int, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of x [N, C, H, W] and weight [O, C / groups, k, k] that are wanted.

    g is that of the result, [N, O, h, w].
    """
    stride, padding, dilation = conv
    sizes = ([stride] * 2, [padding] * 2, [dilation] * 2)
    tensors = (g, x, weight)
    if wanted[1] and needs_float32(x, dilation, groups):
        tensors = [tensor.float() for tensor in tensors]
    found = torch.ops.aten.convolution_backward(
        *tensors, None, *sizes, False, [0, 0], groups, [*wanted, False]
    )
    dx, dw = (grad if grad is None else grad.to(x.dtype) for grad in found[:2])
    return dx, dw


def _depthwise_input_grad(g: Tensor, x: Tensor, weight: Tensor, conv: Conv) -> Tensor:
    """The gradient of x [N, C, H, W] by the result's, g [N, C, h, w]; weight: [C, 1, k, k]."""
    stride, padding, dilation = conv
    size = weight.shape[-1]
    if stride == 1 and g.device.type == 'cpu':
        # PyTorch's own backward is up to nine times slower than its forward on a CPU
        lead = dilation * (size - 1) - padding
        return F.conv2d(g, weight.flip(2, 3), None, 1, lead, dilation, groups=weight.shape[0])
    return _conv_backward(g, x, weight, conv, weight.shape[0], (True, False))[0]


def _normalised(x: Tensor, norm: Tensor, edge: int) -> Tensor:
    """What an edge's batch norm [4, E, C] makes of x, in its type."""
    scale, shift = norm[2:, edge].to(wide_type(x.dtype))
    return (x * scale + shift).to(x.dtype)


def _relu6(x: Tensor, norm: Tensor, edge: int) -> Tensor:
    return _normalised(x, norm, edge).clamp_(0, 6)


def _through_relu6(d: Tensor, x: Tensor, norm: Tensor, edge: int) -> tuple[Tensor, Tensor]:
    """The gradient of norm(x) by that of its relu6, d; the sums of it and of it times x, [2, C]."""
    d = torch.ops.aten.hardtanh_backward(d, _normalised(x, norm, edge), 0.0, 6.0)
    return d, torch.stack([_sum(d), _sum(d * x)])


def _expansion(x: Tensor, expand: Tensor, wide: Tensor | None, edge: int) -> Tensor:
    return x @ expand[edge].t() if wide is None else wide[edge]


def _affine_sum(g: Tensor, y: Tensor, coefficients: Tensor) -> Tensor:
    """a g + b y + c in the type of y, for coefficients [3, C]."""
    a, b, c = coefficients.to(wide_type(y.dtype))
    return (a * g + b * y + c).to(y.dtype)


def _weight_grad(d: Tensor, x: Tensor) -> Tensor:
    """The gradient of a 1x1 convolution's weight [O, C]: the sum over pixels of d x'."""
    return d.reshape(-1, d.shape[-1]).t() @ x.reshape(-1, x.shape[-1])


def _wide_conv(x: Tensor, weight: Tensor, conv: Conv) -> Tensor:
    """All edges' convolutions of x as one: [E, N, h, w, O]."""
    stride, padding, dilation = conv
    y = to_nhwc(F.conv2d(to_nchw(x), weight.flatten(0, 1), None, stride, padding, dilation))
    return y.unflatten(3, weight.shape[:2]).permute(3, 0, 1, 2, 4)


def _shifted(active: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs of both branches of a factorised reduction."""
    pad = (0, 0, 0, active.shape[2] % 2, 0, active.shape[1] % 2)
    padded = F.pad(active, pad) if any(pad) else active
    return active[:, ::2, ::2].contiguous(), padded[:, 1::2, 1::2].contiguous()


def add_products(outs: Sequence[Tensor], x: Tensor, matrices: Tensor) -> None:
    """outs[j] += matrices[j] relu(x), for images [N, h, w, C] and matrices [J, C, C]."""
    active = torch.relu(x)
    for out, matrix in zip(outs, matrices, strict=True):
        out += active @ matrix.t().to(active.dtype)


def cross_products(g: Sequence[Tensor], x: Tensor) -> Tensor:
    """The gradients of :func:`add_products` for its matrices, [J, C, C] in float64."""
    channels = x.shape[-1]
    active = torch.relu(x).reshape(-1, channels)
    return torch.stack([one.reshape(-1, channels).t() @ active for one in g]).double()


class TorchBackend(Backend):
    """PyTorch's functions: any device, type and number of channels."""

    name, title = 'torch', 'PyTorch'
    is_reference = True
    has_pointwise = False
    draws_noise = False

    def unsupported_reasons(
        self, device: torch.device, dtype: torch.dtype, channels: Sequence[int]
    ) -> list[str]:
        return []

    def gradient_to_nhwc(self, image: Tensor) -> Tensor:
        return to_nhwc(image)

    def fill_normal(self, out: Tensor, seed: int) -> None:
        normal.standard_normals(seed, out.detach().view(-1).numpy())

    def moments(self, y: Tensor) -> Tensor:
        return _moments(y, (0, 1, 2))

    batch_norm = staticmethod(norms.batch_norm)
    batch_norm_backward = staticmethod(norms.batch_norm_backward)
    mixture = staticmethod(norms.mixture)
    mixture_backward = staticmethod(norms.mixture_backward)

    def shared_gradient(self, g: Sequence[Tensor], y: Tensor, coefficients: Tensor) -> Tensor:
        a, b, c = coefficients.unbind(0)
        out = torch.empty_like(y)
        terms, scales = [*g, y], torch.cat([a, b.sum(0, keepdim=True)])
        self.mix([out], [False], terms, [0] * len(terms), scales, c.sum(0, keepdim=True))
        return out

    def separable_forward(
        self,
        x: Tensor,
        norm: Tensor | None,
        depthwise: Tensor,
        pointwise: Tensor,
        conv: Conv,
    ) -> tuple[Tensor, Tensor]:
        stride, padding, dilation = conv
        scale, shift = (None, None) if norm is None else norm[2:].to(wide_type(x.dtype))
        parts = []
        shared = to_nchw(_activated(x, None, None)) if x.dim() == 4 else None
        for e, (d, p) in enumerate(zip(depthwise, pointwise, strict=True)):
            active = shared
            if active is None:
                active = to_nchw(_activated(x[e], scale[e], shift[e]))
            features = F.conv2d(active, d, None, stride, padding, dilation, groups=d.shape[0])
            parts.append(to_nhwc(F.conv2d(features, p)))
        y = torch.stack(parts)
        return y, _moments(y, (1, 2, 3))

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
        g = each_image(g)
        stride, padding, dilation = conv
        scale, shift = (None, None) if norm is None else norm[2:].to(wide_type(x.dtype))
        coefficients = coefficients.to(wide_type(x.dtype))
        shared = x.dim() == 4
        result = into if shared else torch.empty_like(x)
        sums, depthwise_grads, pointwise_grads = [], [], []
        active = to_nchw(_activated(x, None, None)) if shared else None
        for e, (d, p) in enumerate(zip(depthwise, pointwise, strict=True)):
            if not shared:
                active = to_nchw(_activated(x[e], scale[e], shift[e]))
            a, b, c = coefficients[e].unbind(0)
            dy = to_nchw((a * g[e] + b * y[e] + c).to(y.dtype))
            df = F.conv2d(dy, p.transpose(0, 1))
            if weights:
                features = F.conv2d(active, d, None, stride, padding, dilation, groups=d.shape[0])
                pointwise_grads.append(
                    _conv_backward(dy, features, p, (1, 0, 1), 1, (False, True))[1]
                )
                wanted = (False, True)
                depthwise_grads.append(_conv_backward(df, active, d, conv, d.shape[0], wanted)[1])
            dx = to_nhwc(_depthwise_input_grad(df, active, d, conv))
            if shared:
                result = result.add_(dx) if accumulate or e else result.copy_(dx)
                continue
            torch.where(
                to_nhwc(active) <= 0,
                torch.zeros((), dtype=dx.dtype, device=dx.device),
                dx,
                out=result[e],
            )
            sums.append(torch.stack([_sum(result[e]), _sum(result[e] * x[e])]))
        stack = torch.stack
        return (
            result,
            stack(sums) if sums else None,
            stack(depthwise_grads) if weights else None,
            stack(pointwise_grads) if weights else None,
        )

    def separable_folded(
        self, x: Tensor, units: Sequence[Unit], out: Tensor, accumulate: bool
    ) -> None:
        y = to_nchw(x[..., : len(units[0].depthwise)])
        for unit in units:
            stride, padding, dilation = unit.conv
            groups = len(unit.depthwise)
            y = F.conv2d(F.relu(y), unit.depthwise, None, stride, padding, dilation, groups)
            y = _evaluated(F.conv2d(y, unit.pointwise), unit.norm)
        found = F.pad(to_nhwc(y), (0, out.shape[-1] - y.shape[1]))
        out.add_(found) if accumulate else out.copy_(found)

    def keeps_expansion(self, pixels: int, channels: int) -> bool:
        return True

    def expand_forward(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.stack([x @ one.t() for one in weight])
        return y, _moments(y, (1, 2, 3))

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
        parts = []
        for e, taps in enumerate(weight):
            active = to_nchw(_relu6(_expansion(x, expand, wide, e), norm, e))
            y = F.conv2d(active, taps, None, stride, padding, groups=len(taps))
            parts.append(to_nhwc(y))
        y = torch.stack(parts)
        return y, _moments(y, (1, 2, 3))

    def project_forward(self, x: Tensor, norm: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.stack([_relu6(x[e], norm, e) @ one.t() for e, one in enumerate(weight)])
        return y, _moments(y, (1, 2, 3))

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
        parts, sums, grads = [], [], []
        for e, one in enumerate(weight):
            dy = _affine_sum(g[e], y[e], coefficients[:, e])
            d, found = _through_relu6(dy @ one, x[e], norm, e)
            parts.append(d)
            sums.append(found)
            if weights:
                grads.append(_weight_grad(dy, _relu6(x[e], norm, e)))
        return torch.stack(parts), torch.stack(sums), torch.stack(grads) if weights else None

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
        sums, grads, expand_grads = [], [], []
        for e, taps in enumerate(weight):
            before = _expansion(x, expand, wide, e)
            d = to_nchw(_affine_sum(g[e], y[e], coefficients[:, e]))
            args = (d, to_nchw(_relu6(before, norm, e)), taps, (stride, padding, 1))
            if weights:
                grads.append(_conv_backward(*args, len(taps), (False, True))[1])
            d, found = _through_relu6(to_nhwc(_depthwise_input_grad(*args)), before, norm, e)
            sums.append(found)
            d = (d * norm[2, e].to(wide_type(x.dtype))).to(x.dtype)
            into.view(-1, into.shape[-1]).addmm_(d.reshape(-1, d.shape[-1]), expand[e])
            if weights:
                expand_grads.append(_weight_grad(d, x))
        stack = torch.stack
        return stack(sums), *((stack(grads), stack(expand_grads)) if weights else (None, None))

    def empty_images(self, like: Tensor, channels: int, height: int, width: int) -> Tensor:
        sizes = (like.shape[0], channels, height, width)
        return like.new_empty(0).new_empty(sizes).contiguous(memory_format=torch.channels_last)

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
        terms = each_image(terms)
        for j, out in enumerate(outs):
            if not accumulate[j]:
                out.zero_()
            if shifts is not None:
                out += shifts[j]
            for t, term in enumerate(terms):
                if edge_of[t] == j:
                    out.addcmul_(term, scales[t])
        if matrices is not None:
            add_products(outs, x, matrices)

    def mix_sums(
        self, g: Sequence[Tensor], terms: Sequence[Tensor], edge_of: Sequence[int], x: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        channels = g[0].shape[-1]
        pairs = zip(each_image(terms), edge_of, strict=True)
        products = [_sum(g[j] * term) for term, j in pairs]
        empty = g[0].new_zeros(0, channels, dtype=torch.float64)
        return (
            torch.stack(products) if products else empty,
            torch.stack([_sum(one) for one in g]),
            None if x is None else cross_products(g, x),
        )

    def covariance(self, x: Tensor, active: bool) -> tuple[Tensor, Tensor]:
        flat = (torch.relu(x) if active else x).reshape(-1, x.shape[-1])
        flat = flat if flat.dtype == torch.float64 else flat.float()
        mean = flat.mean(0)
        centred = flat - mean
        return mean.double(), (centred.t() @ centred).double() / len(flat)

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
        inner = torch.zeros_like(x) if dr is None else dr.clone()
        if left is not None:
            for one, matrix in zip(g, left, strict=True):
                inner += one @ matrix.to(one.dtype)
        if right is not None:
            inner += torch.relu(x) @ right.to(x.dtype)
        if row is not None:
            inner += row
        zero = torch.zeros((), dtype=inner.dtype, device=x.device)
        out.copy_(torch.where(x <= 0, zero, inner))
        if skips is not None:
            for one, skip in zip(g, skips, strict=True):
                out.addcmul_(one, skip)
        return out

    def pool_forward(self, x: Tensor, maximum: bool, stride: int) -> tuple[Tensor, Tensor]:
        if maximum:
            y = F.max_pool2d(to_nchw(x), 3, stride, padding=1)
        else:
            y = F.avg_pool2d(to_nchw(x), 3, stride, padding=1, count_include_pad=False)
        y = to_nhwc(y)
        return y, _moments(y, (0, 1, 2))

    def pool_backward(
        self, dy: Tensor, x: Tensor, y: Tensor, maximum: bool, stride: int, dx: Tensor
    ) -> None:
        aten, sizes = torch.ops.aten, ([3, 3], [stride] * 2, [1, 1])
        if maximum:
            _, index = aten.max_pool2d_with_indices(to_nchw(x), *sizes)
            grad = aten.max_pool2d_with_indices_backward(
                to_nchw(dy), to_nchw(x), *sizes, [1, 1], False, index
            )
        else:
            grad = aten.avg_pool2d_backward(to_nchw(dy), to_nchw(x), *sizes, False, False, None)
        dx += to_nhwc(grad)

    def dense_forward(self, x: Tensor, weight: Tensor, conv: Conv) -> tuple[Tensor, Tensor]:
        y = _wide_conv(torch.relu(x), weight, conv)
        return y, self._stacked_moments(y)

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
        dy = self._dense_gradient(g, y, coefficients)
        active = torch.relu(x) if weights else x
        dx, dw = _conv_backward(
            to_nchw(dy), to_nchw(active), weight.flatten(0, 1), conv, 1, (True, weights)
        )
        into.copy_(to_nhwc(dx)) if not accumulate else into.add_(to_nhwc(dx))
        return dw.view_as(weight) if weights else None

    def factorized_forward(self, x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        images = _shifted(torch.relu(x))[: len(weights)]
        parts = [_wide_conv(one, w, (1, 0, 1)) for one, w in zip(images, weights, strict=True)]
        y = torch.cat([part.permute(1, 2, 3, 0, 4) for part in parts], -1).permute(3, 0, 1, 2, 4)
        return y, self._stacked_moments(y)

    def factorized_backward(
        self,
        g: Sequence[Tensor],
        y: Tensor,
        coefficients: Tensor,
        x: Tensor,
        weights: Sequence[Tensor],
        into: Tensor,
        wanted: bool,
    ) -> list[Tensor | None]:
        dy = self._dense_gradient(g, y, coefficients).unflatten(3, (len(g), -1))
        images = _shifted(torch.relu(x))[: len(weights)]
        found, start = [], 0
        for branch, (image, weight) in enumerate(zip(images, weights, strict=True)):
            part = dy[..., start : start + weight.shape[1]].flatten(3).contiguous()
            start += weight.shape[1]
            flat = weight.flatten(0, 1)
            mask = (True, wanted)
            dx, dw = _conv_backward(to_nchw(part), to_nchw(image), flat, (1, 0, 1), 1, mask)
            found.append(dw.view_as(weight) if wanted else None)
            to = into[:, branch::2, branch::2]
            to += to_nhwc(dx)[:, : to.shape[1], : to.shape[2]]
        return found

    def _dense_gradient(self, g: Sequence[Tensor], y: Tensor, coefficients: Tensor) -> Tensor:
        """The gradient of y [E, N, h, w, O] as [N, h, w, E * O]."""
        edges, _, height, width, channels = y.shape
        dy = to_nhwc(self.empty_images(y[0], edges * channels, height, width))
        parts = dy.unflatten(3, (edges, channels)).unbind(3)
        a, b, c = coefficients.unbind(1)
        terms = [*g, *y.unbind(0)]
        self.mix(parts, [False] * edges, terms, [*range(edges)] * 2, torch.cat([a, b]), c)
        return dy

    def _stacked_moments(self, y: Tensor) -> Tensor:
        """Moments of each edge of what :func:`_wide_conv` gave: [E, 2, O] in float64."""
        wide = y.permute(1, 2, 3, 0, 4).flatten(3)
        return self.moments(wide).unflatten(1, (y.shape[0], y.shape[-1])).transpose(0, 1)

    def pointwise_folded(
        self,
        x: Sequence[Tensor],
        weights: Sequence[Tensor],
        norm: Running,
        channels: int,
        outputs: int,
    ) -> Tensor:
        image = torch.relu(torch.cat([one[..., :channels] for one in x], -1))
        images = (image,) if len(weights) == 1 else _shifted(image)
        pairs = zip(images, weights, strict=True)
        y = torch.cat([F.conv2d(to_nchw(one), weight) for one, weight in pairs], 1)
        return F.pad(to_nhwc(_evaluated(y, norm)), (0, outputs - y.shape[1]))


def _evaluated(y: Tensor, norm: Running) -> Tensor:
    """y [N, C, H, W] normalised."""
    statistics = (norm.mean, norm.var, norm.weight, norm.bias)
    return F.batch_norm(y, *statistics, training=False, eps=norm.eps)
