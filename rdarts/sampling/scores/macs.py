"""The number of multiply-adds, as a score."""

from __future__ import annotations

from collections.abc import Sequence

from rdarts.models.backbones.derived_net import DerivedNet
from rdarts.models.multiply_adds import count_layer_macs, count_macs
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
        network = candidate.network
        derived = any(isinstance(module, DerivedNet) for module in network.modules())
        count = count_layer_macs if derived else count_macs
        return float(count(network, batches[0].images[0]))
