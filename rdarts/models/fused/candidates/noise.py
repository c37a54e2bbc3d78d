"""Noise, whatever the image."""

from __future__ import annotations

from functools import partial

from torch import nn

from rdarts.models.fused.candidates.base import FusedCandidate, Terms
from rdarts.models.layers import Parameterless
from rdarts.models.operations import noise
from rdarts.registry import FUSED_CANDIDATES


@FUSED_CANDIDATES.register_module()
class Noise(FusedCandidate):
    """y ~ N(0, 1), kept for the gradient of its mixing weight."""

    needs = ('noise',)
    is_constant = True

    @classmethod
    def match(cls, operation: nn.Module) -> Noise | None:
        function = getattr(operation, 'function', None)
        fits = isinstance(operation, Parameterless) and isinstance(function, partial)
        return cls() if fits and function.func is noise else None

    def forward(self, node, part, params, save) -> Terms:
        images = [node.facts['noise'][place] for place in part.places]
        for image in images:
            save(image)
        return Terms(images)

    def recall(self, node, part, params, saved) -> Terms:
        return Terms(saved.tensors)

    def backward(self, node, part, params, saved, grad, sink, want_weights) -> list:
        return []
