"""ReLU, depthwise and pointwise convolution, batch norm, any number of times in a row."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

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
from rdarts.models.fused.node import cast
from rdarts.models.layers import StackedBatchNorm2d, StackedConv2d, StackedSequence, is_relu
from rdarts.registry import FUSED_CANDIDATES

if TYPE_CHECKING:
    from rdarts.models.fused.node import Node
    from rdarts.models.fused.plan import Part
    from rdarts.models.fused.sink import Sink

Unit = tuple[StackedConv2d, StackedConv2d, StackedBatchNorm2d]


def _pixels(y: Tensor) -> int:
    """Of each edge's images, [E, N, h, w, C]."""
    _, number, height, width, _ = y.shape
    return number * height * width


def _is_unit(layers: Sequence[nn.Module]) -> bool:
    """Whether they are ReLU, depthwise convolution, pointwise convolution and batch norm."""
    relu, depthwise, pointwise, norm = layers
    if not is_relu(relu) or not isinstance(norm, StackedBatchNorm2d):
        return False
    if not is_square_conv(depthwise) or not is_square_conv(pointwise, 1):
        return False
    _, width, depth, size, _ = depthwise.weight.shape
    point = pointwise.weight.shape[-1] == 1 and conv_args(pointwise)[:2] == (1, 0)
    single = depth == 1 and depthwise.args['groups'] == width
    return point and single and size in (3, 5, 7) and width == pointwise.weight.shape[2]


@FUSED_CANDIDATES.register_module()
class Separable(FusedCandidate):
    """y = P_u D_u relu(norm(... P_1 D_1 relu(x))). What is kept is y of each unit.

    Args:
        units (Sequence[Unit]): Depthwise and pointwise convolution and batch norm of each.

    Attributes:
        convs (list[Conv]): Stride, padding and dilation of each depthwise convolution.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units, self.norms = units, [norm for _, _, norm in units]
        self.convs = [conv_args(depthwise) for depthwise, _, _ in units]
        # a module finds its attributes in five times the time
        self._homes: list[tuple[nn.Module, str]] = []
        for depthwise, pointwise, norm in units:
            self._homes += [(depthwise, 'weight'), (pointwise, 'weight')]
            if norm is not self.norms[-1] and norm.weight is not None:
                self._homes += [(norm, 'weight'), (norm, 'bias')]
        # depthwise, pointwise and, of a norm within, weight and bias
        counts = [4 if n is not self.norms[-1] and n.weight is not None else 2 for n in self.norms]
        ends = list(itertools.accumulate(counts))
        self._spans = [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]

    @classmethod
    def match(cls, operation: nn.Module) -> Separable | None:
        if type(operation) is not StackedSequence or len(operation) == 0 or len(operation) % 4:
            return None
        layers = list(operation)
        units = [layers[start : start + 4] for start in range(0, len(layers), 4)]
        return cls([tuple(unit[1:]) for unit in units]) if all(map(_is_unit, units)) else None

    def parameters(self) -> list[Tensor]:
        found = [layer._parameters.get(name) for layer, name in self._homes]
        # one that is made of others, as of shared or parametrised weights, is an attribute alone
        return [
            getattr(layer, name) if one is None else one
            for one, (layer, name) in zip(found, self._homes, strict=True)
        ]

    def _by_unit(self, params: Sequence[Tensor]) -> list[Sequence[Tensor]]:
        return [params[span] for span in self._spans]

    def forward(self, node: Node, part: Part, params: Params, save: Save) -> Terms:
        y, before = node.image, None
        for unit, (depthwise, pointwise, *affine) in enumerate(self._by_unit(params)):
            norm, dtype = self.norms[unit], y.dtype
            args = (cast(depthwise, dtype), cast(pointwise, dtype), self.convs[unit])
            y, moments = node.backend.separable_forward(y, before, *args)
            save(y)
            if norm is not self.norms[-1]:
                before = node.normalise(part, norm, moments, affine, _pixels(y))
                save(before)
        return Terms([y], moments)

    def backward(
        self, node: Node, part: Part, params: Params, saved: Saved, grad: Grad, sink: Sink
    ) -> list[Tensor | None]:
        found: list[Tensor | None] = []
        g, coefficients, affine_grads = grad.images, grad.coefficients, []
        params = self._by_unit(params)
        ys, norms = saved.tensors[::2], saved.tensors[1::2]
        for unit in reversed(range(len(self.units))):
            before = norms[unit - 1] if unit else None
            x = ys[unit - 1] if unit else node.image
            weights = [cast(weight, x.dtype) for weight in params[unit][:2]]
            args = (x, before, *weights, self.convs[unit])
            args = (g, ys[unit], coefficients.transpose(0, 1), *args)
            if before is None:

                def run(into, accumulate, args=args):
                    return node.backend.separable_backward(
                        *args, into, accumulate, grad.want_weights
                    )

                _, _, *grads = sink.add_before_relu(run)
                return [*grads, *affine_grads, *found]
            dx, sums, *grads = node.backend.separable_backward(
                *args, None, False, grad.want_weights
            )
            found = [*grads, *affine_grads, *found]
            coefficients, *affine_grads, _ = node.backend.batch_norm_backward(
                before, saved.batch[unit - 1], _pixels(x), *sums.unbind(1)
            )
            if self.norms[unit - 1].weight is None:
                affine_grads = []
            g = [dx]
        raise AssertionError('a separable convolution has a unit')
