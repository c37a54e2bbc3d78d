"""1x1 convolutions of stride 2: the factorised reduction, and a lone one."""

from __future__ import annotations

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
    is_unpadded_1x1,
    relu_conv_norm,
)
from rdarts.models.fused.node import cast
from rdarts.models.layers import StackedBatchNorm2d, StackedConv2d, StackedFactorizedReduce
from rdarts.registry import FUSED_CANDIDATES

if TYPE_CHECKING:
    from rdarts.models.fused.node import Node
    from rdarts.models.fused.plan import Part
    from rdarts.models.fused.sink import Sink


@FUSED_CANDIDATES.register_module()
class Factorized(FusedCandidate):
    """y = [W_1 relu(x) at even pixels, W_2 relu(x) a pixel further], or the first alone.

    Args:
        convs (Sequence[StackedConv2d]): One or two convolutions.
        norm (StackedBatchNorm2d): The batch norm.
    """

    def __init__(self, convs: Sequence[StackedConv2d], norm: StackedBatchNorm2d) -> None:
        self.convs, self.norms = convs, (norm,)

    @classmethod
    def match(cls, operation: nn.Module) -> Factorized | None:
        if type(operation) is StackedFactorizedReduce:
            return cls((operation.conv_1, operation.conv_2), operation.bn)
        found = relu_conv_norm(operation)
        if found is None or not is_unpadded_1x1(found[0]) or found[0].args['stride'] != 2:
            return None
        return cls(found[:1], found[1])

    def parameters(self) -> list[Tensor]:
        return [conv.weight for conv in self.convs]

    def forward(self, node: Node, part: Part, params: Params, save: Save) -> Terms:
        weights = [cast(weight, node.image.dtype) for weight in params]
        y, moments = node.backend.factorized_forward(node.image, weights)
        save(y)
        return Terms([y], moments)

    def backward(
        self, node: Node, part: Part, params: Params, saved: Saved, grad: Grad, sink: Sink
    ) -> list[Tensor | None]:
        weights = [cast(weight, node.image.dtype) for weight in params]
        coefficients = grad.coefficients.transpose(0, 1)
        args = (grad.images, saved.tensors[0], coefficients, node.image, weights)

        def run(into, accumulate):
            into = into if accumulate else into.zero_()
            return node.backend.factorized_backward(*args, into, grad.want_weights)

        return sink.add_before_relu(run)
