"""Random search, which every other strategy is measured by."""

from __future__ import annotations

from rdarts.genotypes import Genotype
from rdarts.registry import STRATEGIES
from rdarts.sampling.strategies.base import Strategy


@STRATEGIES.register_module()
class RandomSearch(Strategy):
    """Random genotypes, each drawn independently: one that comes again is a query again.

    What it reaches on a table is known without a search: the cell of rank r of n is the best of k
    draws with probability (r / n)^k - ((r - 1) / n)^k.
    """

    def ask(self) -> Genotype:
        """See :meth:`Strategy.ask`."""
        return self.random()
