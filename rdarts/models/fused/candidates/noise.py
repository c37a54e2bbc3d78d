"""Noise, whatever the image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
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
from rdarts.models.operations import noise
from rdarts.registry import FUSED_CANDIDATES

if TYPE_CHECKING:
    from rdarts.models.fused.node import Node
    from rdarts.models.fused.plan import Part
    from rdarts.models.fused.sink import Sink


@FUSED_CANDIDATES.register_module()
class Noise(FusedCandidate):
    """y ~ N(0, 1). For the gradient of its mixing weight it is drawn again, where that is possible.

    Kept until then, the noise of an edge would be as large as the result of a convolution there. A
    back end that ``draws_noise`` does so where it mixes, block by block, and is given the seed.
    """

    needs = ('noise',)
    is_constant = True

    @classmethod
    def match(cls, operation: nn.Module) -> Noise | None:
        function = getattr(operation, 'function', None)
        fits = isinstance(operation, Parameterless) and isinstance(function, partial)
        return cls() if fits and function.func is noise else None

    def forward(self, node: Node, part: Part, params: Params, save: Save) -> Terms:
        kept = [node.facts['noise'][place] for place in part.places]
        for one in kept:
            save(one)
        return Terms(_terms(node, kept))

    def recall(self, node: Node, part: Part, params: Params, saved: Saved) -> Terms:
        return Terms(_terms(node, saved.tensors))

    def backward(
        self, node: Node, part: Part, params: Params, saved: Saved, grad: Grad, sink: Sink
    ) -> list[Tensor | None]:
        return []


def _terms(node: Node, kept: Sequence[Tensor]) -> list[Tensor]:
    """Noise of each edge, [N, h, w, O], or its seed, [], where the back end draws."""
    return list(kept) if node.backend.draws_noise else [node.drawn(one) for one in kept]
