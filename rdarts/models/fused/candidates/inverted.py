"""The inverted bottleneck of MobileNetV2 (https://arxiv.org/abs/1801.04381) with an expansion."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.models.fused.candidates.base import (
    FusedCandidate,
    Grad,
    Params,
    Save,
    Saved,
    Terms,
    conv_args,
    is_square_conv,
)
from rdarts.models.fused.candidates.identity import Identity
from rdarts.models.fused.node import Node, cast
from rdarts.models.layers import (
    Parameterless,
    StackedBatchNorm2d,
    StackedConv2d,
    StackedResidual,
    StackedSequence,
)
from rdarts.registry import FUSED_CANDIDATES

if TYPE_CHECKING:
    from rdarts.models.fused.plan import Part
    from rdarts.models.fused.sink import Sink


def _is_bottleneck(layers: Sequence[nn.Module]) -> bool:
    kinds = [StackedConv2d, StackedBatchNorm2d, Parameterless] * 3
    if len(layers) != 8 or not all(map(isinstance, layers, kinds)):
        return False
    expand, depthwise, project = layers[0], layers[3], layers[6]
    functions = {layers[2].function, layers[5].function}
    points = all(
        is_square_conv(conv, 1) and conv.weight.shape[-1] == 1 and conv_args(conv)[:2] == (1, 0)
        for conv in (expand, project)
    )
    _, width, depth, size, _ = depthwise.weight.shape
    deep = is_square_conv(depthwise, width) and depth == 1 and depthwise.args['dilation'] == 1
    return functions == {F.relu6} and points and deep and size in (3, 5, 7)


@FUSED_CANDIDATES.register_module()
class Inverted(FusedCandidate):
    """y = P relu6(norm(D relu6(norm(E x)))), edge by edge. What is kept is before each batch norm.

    Where x has many pixels for its channels, E x is not kept: its batch statistics follow from mean
    m and covariance S of x, E m and diag(E S E'), and the kernels compute it anew, tile by tile.
    Backward, the gradient of E x is a d + b E x + c, of which d alone needs the pixels: the rest
    is x times E' diag(b) E in the gradient of x, and E times the sum of x x' in that of E.

    Args:
        convs (Sequence[StackedConv2d]): E, D and P.
        norms (Sequence[StackedBatchNorm2d]): The batch norm of each.
        residual (bool): Whether x is added to the result.
    """

    def __init__(
        self,
        convs: Sequence[StackedConv2d],
        norms: Sequence[StackedBatchNorm2d],
        residual: bool,
    ) -> None:
        self.convs, self.norms, self.residual = convs, norms, residual

    @classmethod
    def match(cls, operation: nn.Module) -> Inverted | None:
        if type(operation) not in (StackedSequence, StackedResidual):
            return None
        layers = list(operation)
        residual = type(operation) is StackedResidual
        return cls(layers[::3], layers[1::3], residual) if _is_bottleneck(layers) else None

    def extras(self) -> list[FusedCandidate]:
        return [Identity()] if self.residual else []

    def parameters(self) -> list[Tensor]:
        found = []
        for unit, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            found.append(conv.weight)
            if unit < 2 and norm.weight is not None:
                found += [norm.weight, norm.bias]
        return found

    def _by_unit(self, params: Sequence[Tensor]) -> list[Sequence[Tensor]]:
        """The convolution's weight and, of a norm within, weight and bias: of each unit."""
        found, start = [], 0
        for unit, norm in enumerate(self.norms):
            found.append(params[start : start + (3 if unit < 2 and norm.weight is not None else 1)])
            start += len(found[-1])
        return found

    def _weights(self, node: Node, units: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """E [E, M, C], D [E, M, 1, k, k] and P [E, O, M] in the type of the images."""
        expand, depthwise, project = (cast(unit[0], node.image.dtype) for unit in units)
        return [expand.flatten(2), depthwise, project.flatten(2)]

    def _stacked(self, grads: Sequence[Sequence[Tensor | None]]) -> list[Tensor | None]:
        """The gradients of the parameters, of those of each edge: E, its norm, D, its norm, P."""
        wanted = [True]
        for norm in self.norms[:2]:
            wanted += [norm.weight is not None] * 2 + [True]
        return [
            None if each[0] is None else torch.stack(each) if len(each) > 1 else each[0][None]
            for each, one in zip(zip(*grads, strict=True), wanted, strict=True)
            if one
        ]

    def forward(self, node: Node, part: Part, params: Params, save: Save) -> Terms:
        edges, backend, x = len(part.edges), node.backend, node.image
        units = self._by_unit(params)
        expand, depthwise, project = self._weights(node, units)
        stride, padding, _ = conv_args(self.convs[1])
        kept = backend.keeps_expansion(x[..., 0].numel(), x.shape[-1])
        if kept:
            wides, moments = _each(backend.expand_forward(x, weight) for weight in expand)
        else:
            wides, moments = [None] * edges, _moments_of(units[0][0], *_covariance(node))
        norm = node.normalise(part, self.norms[0], moments, units[0][1:], x[..., 0].numel())
        deeps, moments = _each(
            backend.depthwise_forward(x, *layer, stride, padding)
            for layer in zip(expand, wides, *norm[2:].to(node.dtype), depthwise, strict=True)
        )
        count = len(x) * math.prod(node.size)
        norm_2 = node.normalise(part, self.norms[1], moments, units[1][1:], count)
        images, moments = _each(
            backend.project_forward(*layer)
            for layer in zip(deeps, *norm_2[2:].to(node.dtype), project, strict=True)
        )
        for tensor in (*(wides if kept else ()), *deeps, norm, norm_2):
            save(tensor)
        save(torch.stack(images) if edges > 1 else images[0][None])
        return Terms(images, moments)

    def backward(
        self, node: Node, part: Part, params: Params, saved: Saved, grad: Grad, sink: Sink
    ) -> list[Tensor | None]:
        edges, backend = len(part.edges), node.backend
        *images, norm_1, norm_2, _ = saved.tensors
        wides, deeps = images[:-edges] or [None] * edges, images[-edges:]
        units = self._by_unit(params)
        expand, depthwise, project = self._weights(node, units)
        stride, padding, _ = conv_args(self.convs[1])
        scales_1, shifts_1 = norm_1[2:].to(node.dtype)
        scales_2, shifts_2 = norm_2[2:].to(node.dtype)
        weights = grad.want_weights
        grads: list[list[Tensor | None]] = []
        for edge, (wide, deep) in enumerate(zip(wides, deeps, strict=True)):
            d, sums, project_grad = backend.project_backward(
                grad.images[edge],
                saved.tensors[-1][edge],
                grad.coefficients[:, edge],
                deep,
                scales_2[edge],
                shifts_2[edge],
                project[edge],
                weights,
            )
            back, affine_2 = _through_norm(node, norm_2[:, edge], saved.batch[1], node.count, sums)
            layer = (node.image, expand[edge], wide, scales_1[edge], shifts_1[edge])
            rest = (depthwise[edge], stride, padding)
            given = (d, deep, back.to(node.dtype), *layer, *rest)
            sums, depthwise_grad, expand_grad = sink.add_to_input(
                lambda into, given=given: backend.depthwise_backward(*given, into, weights)
            )
            pixels = node.image[..., 0].numel()
            back, affine_1 = _through_norm(node, norm_1[:, edge], saved.batch[0], pixels, sums)
            if saved.batch[0]:
                weight = expand[edge].to(node.dtype)
                slope, constant = back[1:].to(node.dtype)
                sloped = slope[:, None] * weight
                sink.add_linear(weight.t() @ sloped, constant @ weight)
                if weights:
                    mean, covariance = _covariance(node)
                    moment = (covariance + mean[:, None] * mean) * pixels
                    expand_grad += sloped @ moment.to(node.dtype)
                    expand_grad += constant[:, None] * (mean * pixels).to(node.dtype)
            grads.append([expand_grad, *affine_1, depthwise_grad, *affine_2, project_grad])
        return self._stacked(grads)


def _each(found: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], Tensor]:
    """What each edge's kernel gave, and their moments as one."""
    images, moments = zip(*found, strict=True)
    return list(images), torch.stack(moments)


def _covariance(node: Node) -> tuple[Tensor, Tensor]:
    """Mean [C] and covariance [C, C] of x over pixels, in float64, computed once."""
    if 'covariance' not in node.facts:
        node.facts['covariance'] = node.backend.covariance(node.image, False)
    return node.facts['covariance']


def _moments_of(weight: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Mean and biased variance [E, 2, M] of weight x, for [E, M, C, 1, 1], in float64."""
    weight = weight.flatten(2).double()
    variance = torch.einsum('emc,emc->em', weight @ covariance, weight)
    return torch.stack([weight @ mean, variance.clamp_min_(0)], 1)


def _through_norm(
    node: Node, norm: Tensor, batch: bool, count: int, sums: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Back through a batch norm of y: the coefficients [3, C]; its weight's and bias's gradient.

    ``norm`` [4, C] is of :meth:`Node.normalise`; ``sums`` [2, C] those of the gradient over
    ``count`` pixels, and of it times y.
    """
    total, product = sums[:, None]
    found, *affine, _ = node.backend.batch_norm_backward(
        norm[:, None], batch, count, total, product
    )
    return found[:, 0], [one[0] for one in affine]
