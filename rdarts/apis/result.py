"""What a search by one call gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from rdarts.genotypes import Genotype


@dataclass(frozen=True)
class SearchResult:
    """What :func:`~rdarts.apis.search` found.

    Args:
        genotype (Genotype): The genotype of the last epoch; of a search that asks, the best.
        alphas (dict[str, Tensor]): Alpha of each group, [edges, candidates]; none of a search that
            asks.
        history (list[dict]): One row an epoch: ``epoch``, ``accuracy/top1`` (%, of the supernet on
            the images of alpha), ``entropy`` and what else the search's log holds; or one a query:
            ``query``, ``genotype`` (a string), ``value``, ``costs``, ``best``.
    """

    genotype: Genotype
    alphas: dict[str, Tensor]
    history: list[dict[str, Any]] = field(repr=False)
