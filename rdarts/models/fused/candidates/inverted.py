"""The inverted bottleneck of MobileNetV2 (https://arxiv.org/abs/1801.04381) with an expansion."""

from __future__ import annotations

from collections.abc import Sequence
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

    def forward(self, node: Node, part: Part, params: Params, save: Save) -> Terms:
        backend, x = node.backend, node.image
        units = self._by_unit(params)
        expand, depthwise, project = self._weights(node, units)
        stride, padding, _ = conv_args(self.convs[1])
        pixels, wide = _pixels(node), None
        if backend.keeps_expansion(pixels, x.shape[-1]):
            wide, moments = backend.expand_forward(x, expand)
        else:
            moments = _moments_of(expand, *_covariance(node))
        norm_1 = node.normalise(part, self.norms[0], moments, units[0][1:], pixels)
        layer = (expand, wide, norm_1, depthwise, stride, padding)
        deep, moments = backend.depthwise_forward(x, *layer)
        norm_2 = node.normalise(part, self.norms[1], moments, units[1][1:], node.count)
        y, moments = backend.project_forward(deep, norm_2, project)
        for tensor in (wide, deep, norm_1, norm_2, y):
            if tensor is not None:
                save(tensor)
        return Terms([y], moments)

    def backward(
        self, node: Node, part: Part, params: Params, saved: Saved, grad: Grad, sink: Sink
    ) -> list[Tensor | None]:
        backend, weights = node.backend, grad.want_weights
        *kept, deep, norm_1, norm_2, y = saved.tensors
        expand, depthwise, project = self._weights(node, self._by_unit(params))
        stride, padding, _ = conv_args(self.convs[1])
        d, sums, project_grad = backend.project_backward(
            grad.images, y, grad.exact, deep, norm_2, project, weights
        )
        batch_1, batch_2, _ = saved.batch
        back, *affine_2, _ = backend.batch_norm_backward(
            norm_2, batch_2, node.count, *sums.unbind(1)
        )
        layer = (expand, kept[0] if kept else None, norm_1, depthwise, stride, padding)
        sums, depthwise_grad, expand_grad = sink.add_to_input(
            lambda into: backend.depthwise_backward(
                d, deep, back, node.image, *layer, into, weights
            )
        )
        back, *affine_1, _ = backend.batch_norm_backward(
            norm_1, batch_1, _pixels(node), *sums.unbind(1)
        )
        if batch_1:
            weight = expand.to(node.dtype)
            slope, constant = back[1:, ..., None].to(node.dtype)
            terms = torch.cat([slope * weight, constant], 2)
            sink.add_linear(weight.flatten(0, 1).t() @ terms.flatten(0, 1))
            if weights:
                expand_grad += terms @ _sums(node)
        by_unit = ([expand_grad, *affine_1], [depthwise_grad, *affine_2])
        pairs = zip(by_unit, self.norms[:2], strict=True)
        found = [each[: 1 if norm.weight is None else 3] for each, norm in pairs]
        return [*found[0], *found[1], project_grad]


def _pixels(node: Node) -> int:
    """The number of pixels of x."""
    return node.image.numel() // node.image.shape[-1]


def _covariance(node: Node) -> tuple[Tensor, Tensor]:
    """Mean [C] and covariance [C, C] of x over pixels, in float64, computed once."""
    if 'covariance' not in node.facts:
        node.facts['covariance'] = node.backend.covariance(node.image, False)
    return node.facts['covariance']


def _sums(node: Node) -> Tensor:
    """The sums over pixels of x x' and, as a last row, of x, [C + 1, C], computed once."""
    if 'sums' not in node.facts:
        mean, covariance = _covariance(node)
        both = torch.cat([covariance + mean[:, None] * mean, mean[None]])
        node.facts['sums'] = (both * _pixels(node)).to(node.dtype)
    return node.facts['sums']


def _moments_of(weight: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Mean and biased variance [E, 2, M] of weight x, for [E, M, C], in float64."""
    weight = weight.double()
    variance = (weight @ covariance * weight).sum(2)
    return torch.stack([weight @ mean, variance.clamp_min_(0)], 1)
