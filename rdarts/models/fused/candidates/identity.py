"""The identity: the image itself."""

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
)
from rdarts.models.layers import Parameterless
from rdarts.models.operations import identity
from rdarts.registry import FUSED_CANDIDATES

if TYPE_CHECKING:
    from rdarts.models.fused.node import Node
    from rdarts.models.fused.plan import Part
    from rdarts.models.fused.sink import Sink


@FUSED_CANDIDATES.register_module()
class Identity(FusedCandidate):
    """y = x."""

    @classmethod
    def match(cls, operation: nn.Module) -> Identity | None:
        fits = isinstance(operation, Parameterless) and operation.function is identity
        return cls() if fits else None

    def forward(self, node: Node, part: Part, params: Params, save: Save) -> Terms:
        return Terms([node.image] * len(part.edges))

    def recall(self, node: Node, part: Part, params: Params, saved: Saved) -> Terms:
        return Terms([node.image] * len(part.edges))

    def backward(
        self, node: Node, part: Part, params: Params, saved: Saved, grad: Grad, sink: Sink
    ) -> list[Tensor | None]:
        sink.add_skip(part, grad.exact[0, :, 0])  # a: the mixing weight, for all channels
        return []
