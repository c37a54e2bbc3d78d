"""The identity: the image itself."""

from __future__ import annotations

from torch import nn

from rdarts.models.fused.candidates.base import FusedCandidate, Terms
from rdarts.models.layers import Parameterless
from rdarts.models.operations import identity
from rdarts.registry import FUSED_CANDIDATES


@FUSED_CANDIDATES.register_module()
class Identity(FusedCandidate):
    """y = x."""

    @classmethod
    def match(cls, operation: nn.Module) -> Identity | None:
        fits = isinstance(operation, Parameterless) and operation.function is identity
        return cls() if fits else None

    def forward(self, node, part, params, save) -> Terms:
        return Terms([node.image] * len(part.edges))

    def recall(self, node, part, params, saved) -> Terms:
        return Terms([node.image] * len(part.edges))

    def backward(self, node, part, params, saved, grad, sink, want_weights) -> list:
        sink.add_skip(part, grad.exact[0, :, 0])  # a: the mixing weight, for all channels
        return []
