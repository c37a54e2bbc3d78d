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

    def forward(self, node: Node, part: Part, params: Params, save: Save) -> Terms:
        edges, backend = len(part.edges), node.backend
        stride, padding, _ = conv_args(self.convs[1])
        sources, before = [node.image] * edges, None
        for unit, (weight, *affine) in enumerate(self._by_unit(params)):
            weight = cast(weight, node.image.dtype)
            images, moments = [], []
            for edge, x in enumerate(sources):
                norm = None if before is None else before[2:, edge].to(node.dtype)
                if unit == 1:
                    y, moment = backend.depthwise_forward(x, *norm, weight[edge], stride, padding)
                else:
                    active = x if norm is None else backend.relu6(x, *norm)
                    y = active @ weight[edge].flatten(1).t()
                    moment = backend.moments(y)
                images.append(y)
                moments.append(moment)
            moments = torch.stack(moments)
            if unit == 2:
                break
            for y in images:
                save(y)
            count = images[0][..., 0].numel()
            before = node.normalise(part, self.norms[unit], moments, affine, count)
            save(before)
            sources = images
        save(torch.stack(images) if edges > 1 else images[0][None])
        return Terms(images, moments)

    def backward(
        self, node: Node, part: Part, params: Params, saved: Saved, grad: Grad, sink: Sink
    ) -> list[Tensor | None]:
        def run(into: Tensor) -> list[Tensor | None]:
            return self._backward(node, len(part.edges), params, saved, grad, into)

        return sink.add_to_input(run)

    def _backward(
        self, node: Node, edges: int, params: Params, saved: Saved, grad: Grad, into: Tensor
    ) -> list[Tensor | None]:
        """Adds the gradient of x to ``into``, [N, H, W, C]; the gradients of ``params``."""
        backend, dtype = node.backend, node.dtype
        expand, depthwise, project = (
            cast(unit[0], node.image.dtype) for unit in self._by_unit(params)
        )
        wides, norm_1 = saved.tensors[:edges], saved.tensors[edges]
        deeps, norm_2 = saved.tensors[edges + 1 : -2], saved.tensors[-2]
        stride, padding, _ = conv_args(self.convs[1])
        flat = into.view(-1, into.shape[-1])
        grads: list[list[list[Tensor | None]]] = [[], [], []]  # of each unit, of each edge
        for edge in range(edges):
            wide, deep = wides[edge], deeps[edge]
            first, second = (norm[2:, edge].to(dtype) for norm in (norm_1, norm_2))
            y = saved.tensors[-1][edge]
            d = _through_coefficients(node, grad.images[edge], y, grad.coefficients[:, edge])
            project_grad = (
                weight_grad(d, backend.relu6(deep, *second)) if grad.want_weights else None
            )
            d, sums = backend.relu6_backward(d @ project[edge].flatten(1), deep, *second)
            back, deep_affine = _through_norm(node, norm_2[:, edge], saved.batch[1], deep, sums)
            d, sums, depthwise_grad = backend.depthwise_backward(
                d,
                deep,
                back.to(dtype),
                wide,
                *first,
                depthwise[edge],
                stride,
                padding,
                grad.want_weights,
            )
            back, wide_affine = _through_norm(node, norm_1[:, edge], saved.batch[0], wide, sums)
            d = _through_coefficients(node, d, wide, back.to(dtype))
            expand_grad = weight_grad(d, node.image) if grad.want_weights else None
            flat.addmm_(d.reshape(-1, d.shape[-1]), expand[edge].flatten(1))
            grads[0].append([expand_grad, *wide_affine])
            grads[1].append([depthwise_grad, *deep_affine])
            grads[2].append([project_grad])
        result: list[Tensor | None] = []
        for unit, each in enumerate(grads):
            if unit < 2 and self.norms[unit].weight is None:
                each = [tensors[:1] for tensors in each]
            result += [
                None if tensors[0] is None else torch.stack(tensors)
                for tensors in zip(*each, strict=True)
            ]
        return result


def weight_grad(d: Tensor, x: Tensor) -> Tensor:
    """The gradient of a 1x1 convolution's weight [O, C]: the sum over pixels of d x'."""
    return d.reshape(-1, d.shape[-1]).t() @ x.reshape(-1, x.shape[-1])


def _through_coefficients(node: Node, g: Tensor, y: Tensor, coefficients: Tensor) -> Tensor:
    """a g + b y + c, for ``coefficients`` [3, C]."""
    out = node.like(y)
    node.backend.mix([out], [False], [g, y], [0, 0], coefficients[:2], coefficients[2:])
    return out


def _through_norm(
    node: Node, norm: Tensor, batch: bool, y: Tensor, sums: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Back through a batch norm of y: the coefficients [3, C]; its weight's and bias's gradient.

    ``norm`` [4, C] is of :meth:`Node.normalise`; ``sums`` [2, C] those of the gradient and of it
    times y.
    """
    total, product = sums[:, None]
    found, *affine, _ = node.backend.batch_norm_backward(
        norm[:, None], batch, y[..., 0].numel(), total, product
    )
    return found[:, 0], [one[0] for one in affine]
