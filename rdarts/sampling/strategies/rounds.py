"""What strategies that ask in rounds share: random genotypes, then some that follow from all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rdarts.genotypes import Genotype
from rdarts.sampling.result import Result
from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.state import Evaluated
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config


class Rounds(Strategy):
    """The first ``initial`` genotypes are random; then :meth:`round` says again and again what is.

    Args:
        initial (int): Random genotypes.
        per_round (int): Genotypes of a round, at most.

    Attributes:
        evaluated (list[Evaluated]): All that it was told.
    """

    def __init__(self, initial: int, per_round: int) -> None:
        self.initial, self.per_round = initial, per_round

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`."""
        super().prepare(space, generator, cfg)
        self.evaluated: list[Evaluated] = []
        self._next: list[Genotype] = []

    def round(self) -> list[Genotype]:
        """What is asked for next, one genotype or more."""
        raise TypeError(f'{type(self).__name__} does not override round')

    def ask(self) -> Genotype:
        """See :meth:`Strategy.ask`."""
        if len(self.evaluated) < self.initial:
            return self.random()
        if not self._next:
            self._next = self.round()
        return self._next[0]

    def tell(self, genotype: Genotype, result: Result) -> None:
        """See :meth:`Strategy.tell`."""
        self.evaluated.append(Evaluated(genotype, result.rank))
        self._next = self._next[1:]

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Strategy.state_dict`: what was evaluated, and the rest of the round."""
        return dict(
            evaluated=[one.to_data() for one in self.evaluated],
            next=[genotype.to_dict() for genotype in self._next],
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Strategy.load_state_dict`."""
        super().load_state_dict(state)
        self.evaluated = [Evaluated.from_data(data, self.space) for data in state['evaluated']]
        self._next = self.still_allowed(state['next'])
