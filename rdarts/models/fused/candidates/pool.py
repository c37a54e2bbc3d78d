"""3x3 pooling, with or without a batch norm: one image for all edges."""

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
)
from rdarts.models.layers import Parameterless, StackedBatchNorm2d, StackedSequence
from rdarts.models.operations import Pool3x3
from rdarts.registry import FUSED_CANDIDATES

if TYPE_CHECKING:
    from rdarts.models.fused.node import Node
    from rdarts.models.fused.plan import Part
    from rdarts.models.fused.sink import Sink


@FUSED_CANDIDATES.register_module()
class Pool(FusedCandidate):
    """y = pool(x), which the edges share. A mean takes less time than memory: it is not kept.

    Args:
        pool (Pool3x3): The pool.
        norms (Sequence[StackedBatchNorm2d]): The batch norm after it, or nothing.
    """

    def __init__(self, pool: Pool3x3, norms: Sequence[StackedBatchNorm2d]) -> None:
        self.pool, self.norms = pool, norms

    @classmethod
    def match(cls, operation: nn.Module) -> Pool | None:
        layers = list(operation) if type(operation) is StackedSequence else [operation]
        pool = getattr(layers[0], 'function', None)
        if not isinstance(layers[0], Parameterless) or not isinstance(pool, Pool3x3):
            return None
        norms = layers[1:]
        fits = len(norms) < 2 and all(isinstance(norm, StackedBatchNorm2d) for norm in norms)
        return cls(pool, norms) if fits else None

    def forward(self, node: Node, part: Part, params: Params, save: Save) -> Terms:
        y, moments = node.backend.pool_forward(node.image, self.pool.maximum, self.pool.stride)
        if self.pool.maximum:
            save(y)
        return Terms([y] * len(part.edges), moments)

    def recall(self, node: Node, part: Part, params: Params, saved: Saved) -> Terms:
        return Terms([self._image(node, part, saved)] * len(part.edges))

    def _image(self, node: Node, part: Part, saved: Saved) -> Tensor:
        if self.pool.maximum:
            return saved.tensors[0]
        if part.name not in node.again:
            node.again[part.name], _ = node.backend.pool_forward(
                node.image, False, self.pool.stride
            )
        return node.again[part.name]

    def backward(
        self, node: Node, part: Part, params: Params, saved: Saved, grad: Grad, sink: Sink
    ) -> list[Tensor | None]:
        y = self._image(node, part, saved)
        dy = node.backend.shared_gradient(grad.images, y, grad.coefficients)

        def spread(dx):
            node.backend.pool_backward(dy, node.image, y, self.pool.maximum, self.pool.stride, dx)

        sink.defer(spread)
        return []
