"""ReLU, a 1x1 convolution of stride 1, batch norm, which is never computed.

Of y = W r, r = relu(x), the mean is W m and the variance diag(W S W') with mean m and covariance S
of r: scale and shift fold into W, and W into the mixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
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
from rdarts.models.layers import StackedBatchNorm2d, StackedConv2d
from rdarts.registry import FUSED_CANDIDATES

if TYPE_CHECKING:
    from rdarts.models.fused.node import Node
    from rdarts.models.fused.plan import Part
    from rdarts.models.fused.sink import Sink


@FUSED_CANDIDATES.register_module()
class Folded1x1(FusedCandidate):
    """y = W relu(x), O = C.

    Args:
        conv (StackedConv2d): The convolution.
        norm (StackedBatchNorm2d): The batch norm.
    """

    needs = ('relu_covariance',)
    folds = True

    def __init__(self, conv: StackedConv2d, norm: StackedBatchNorm2d) -> None:
        self.conv, self.norms = conv, (norm,)

    @classmethod
    def match(cls, operation: nn.Module) -> Folded1x1 | None:
        found = relu_conv_norm(operation)
        if found is None or not is_unpadded_1x1(found[0]) or found[0].args['stride'] != 1:
            return None
        square = found[0].weight.shape[1] == found[0].weight.shape[2]
        return cls(*found) if square else None

    def parameters(self) -> list[Tensor]:
        return [self.conv.weight]

    def forward(self, node: Node, part: Part, params: Params, save: Save) -> Terms:
        mean, covariance = node.facts['relu_covariance']
        save(mean), save(covariance)
        weight = params[0].flatten(2).double()
        var = ((weight @ covariance) * weight).sum(-1).clamp_(min=0)
        return Terms(moments=torch.stack([weight @ mean, var], 1), matrices=weight)

    def recall(self, node: Node, part: Part, params: Params, saved: Saved) -> Terms:
        return Terms(matrices=params[0].flatten(2).double())

    def backward(
        self, node: Node, part: Part, params: Params, saved: Saved, grad: Grad, sink: Sink
    ) -> list[Tensor | None]:
        """dy = a g + b y + c by r alone: g is multiplied with a W, r with W' b W, 1 with c W."""
        weight = params[0].flatten(2).double()
        mean, covariance = saved.tensors
        a, b, c = grad.exact.unbind(0)
        left = a[:, :, None] * weight
        right = torch.einsum('eok,eo,eol->kl', weight, b, weight)
        sink.add_matrices(part, left, right, (c[:, :, None] * weight).sum((0, 1)))
        if not grad.want_weights:
            return [None]
        found = a[:, :, None] * grad.cross
        second = covariance + torch.outer(mean, mean)
        found += node.count * b[:, :, None] * (weight @ second)
        found += node.count * c[:, :, None] * mean
        return [found[:, :, :, None, None]]
