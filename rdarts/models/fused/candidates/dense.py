"""ReLU, a dense convolution, batch norm: the m edges' convolutions are one of C to m O channels."""

from __future__ import annotations

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
    is_unpadded_1x1,
    relu_conv_norm,
)
from rdarts.models.fused.node import cast
from rdarts.models.layers import StackedBatchNorm2d, StackedConv2d
from rdarts.registry import FUSED_CANDIDATES

if TYPE_CHECKING:
    from rdarts.models.fused.node import Node
    from rdarts.models.fused.plan import Part
    from rdarts.models.fused.sink import Sink


@FUSED_CANDIDATES.register_module()
class Dense(FusedCandidate):
    """y = W * relu(x).

    Args:
        conv (StackedConv2d): The convolution.
        norm (StackedBatchNorm2d): The batch norm.
    """

    def __init__(self, conv: StackedConv2d, norm: StackedBatchNorm2d) -> None:
        self.conv, self.norms = conv, (norm,)

    @classmethod
    def match(cls, operation: nn.Module) -> Dense | None:
        found = relu_conv_norm(operation)
        if found is None:
            return None
        conv = found[0]
        square = conv.weight.shape[1] == conv.weight.shape[2]
        stride = conv.args['stride']
        other = is_unpadded_1x1(conv) and (stride == 2 or (stride == 1 and square))
        return None if other else cls(*found)  # others: folded, or of a stride

    def parameters(self) -> list[Tensor]:
        return [self.conv.weight]

    def forward(self, node: Node, part: Part, params: Params, save: Save) -> Terms:
        weight = cast(params[0], node.image.dtype)
        y, moments = node.backend.dense_forward(node.image, weight, conv_args(self.conv))
        save(y)
        return Terms([y], moments)

    def backward(
        self, node: Node, part: Part, params: Params, saved: Saved, grad: Grad, sink: Sink
    ) -> list[Tensor | None]:
        weight = cast(params[0], node.image.dtype)
        coefficients = grad.coefficients.transpose(0, 1)
        args = (grad.images, saved.tensors[0], coefficients, node.image, weight)

        def run(into, accumulate):
            conv = conv_args(self.conv)
            return node.backend.dense_backward(*args, conv, into, accumulate, grad.want_weights)

        return [sink.add_before_relu(run)]
