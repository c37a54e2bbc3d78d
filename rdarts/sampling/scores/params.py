"""The number of parameters, as a score."""

from __future__ import annotations

from collections.abc import Sequence

from rdarts.registry import SCORES
from rdarts.sampling.scores.base import Batch, Candidate, Score


@SCORES.register_module()
class Params(Score):
    """The parameters of the network: weights, biases and batch norms, the classifier's included."""

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`; the batches are not read."""
        return float(sum(parameter.numel() for parameter in candidate.network.parameters()))
