"""What a ranking is: it places a whole set of candidates at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from scipy.stats import rankdata
from torch import nn

from rdarts.sampling.scores.base import Batch, Candidate


class Ranking:
    """From the scores of every candidate of a set to a number for each, the larger the better.

    A subclass is registered in ``RANKINGS``, takes its options in ``__init__`` and overrides
    :meth:`measure` and :meth:`__call__`. What it says of a candidate depends on the others, and
    changes as a set grows; what it measured does not.

    Attributes:
        batches (int): How many batches it needs. Defaults to 1.
    """

    batches: ClassVar[int] = 1

    def initialise(self, network: nn.Module) -> None:
        """See :meth:`Score.initialise`."""

    def measure(self, candidate: Candidate, batches: Sequence[Batch]) -> Mapping[str, float]:
        """The scores of one candidate by name.

        Args:
            candidate (Candidate): As scores take it.
            batches (Sequence[Batch]): At least :attr:`batches`, on the network's device.
        """
        raise TypeError(f'{type(self).__name__} does not override measure')

    def __call__(self, measured: Sequence[Mapping[str, float]]) -> list[float]:
        """A number for each candidate of a set.

        Args:
            measured (Sequence[Mapping[str, float]]): What :meth:`measure` gave of each.
        """
        raise TypeError(f'{type(self).__name__} does not override __call__')


def ranks(scores: Sequence[float]) -> np.ndarray:
    """The place of each score over the number of scores, in (0, 1]: 1 for the largest.

    Equal ones share the mean of their places. What is not finite comes last, and is equal.
    """
    values = np.asarray(scores, dtype=float)
    return rankdata(np.where(np.isfinite(values), values, -np.inf)) / max(len(values), 1)
