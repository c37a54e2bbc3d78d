"""The number of multiply-adds, as a score."""

from __future__ import annotations

from collections.abc import Sequence

from rdarts.models.multiply_adds import count_macs
from rdarts.registry import SCORES
from rdarts.sampling.scores.base import Batch, Candidate, Score


@SCORES.register_module()
class Macs(Score):
    """The multiply-adds of convolutions and linear layers for one image of the batch's size.

    The FLOPs of the field's tables are these; NAS-Bench-201's, which has them in millions, counts
    the additions of the classifier's bias, too.
    """

    def __call__(self, candidate: Candidate, batches: Sequence[Batch]) -> float:
        """See :meth:`Score.__call__`."""
        return float(count_macs(candidate.network, batches[0].images[0]))
