"""Local search (https://arxiv.org/abs/2005.02960)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from rdarts.configuration.declarations import Among, Positive, check_arguments
from rdarts.genotypes import Genotype
from rdarts.registry import STRATEGIES
from rdarts.sampling.result import Result
from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.state import Evaluated, best_of, check_mutable
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config


@STRATEGIES.register_module()
class LocalSearch(Strategy):
    """From the best of random starts to a better neighbour, until there is none; then anew.

    The neighbours (:meth:`rdarts.genotypes.Genotype.neighbours`) of where the search stands are
    asked for in random order. Where none is better, it goes on from one random genotype, even one
    that is worse than what was found. A genotype that comes again is a query again.

    Args:
        initial (int): Random genotypes, different ones, of which the best is the first start.
            Defaults to 10.
        improvement (str): ``'first'``, to go to the first neighbour that is better, or ``'best'``,
            to ask for all of them and go to the best. Defaults to ``'first'``.

    Raises:
        UserError: An argument is none of these.
    """

    def __init__(
        self,
        initial: Positive = 10,
        improvement: Annotated[str, Among(('first', 'best'))] = 'first',
    ) -> None:
        check_arguments(self, initial=initial, improvement=improvement)
        self.initial, self.improvement = initial, improvement

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`."""
        super().prepare(space, generator, cfg)
        check_mutable(space)
        self._starts: list[Evaluated] = []
        self._restarted = False
        self._stand(None, [])

    def ask(self) -> Genotype:
        """See :meth:`Strategy.ask`."""
        if self._at is not None:
            return self._neighbours[self._left[0]]
        return self.unknown(self.random, {one.genotype.to_string() for one in self._starts})

    def tell(self, genotype: Genotype, result: Result) -> None:
        """See :meth:`Strategy.tell`."""
        told = Evaluated(genotype, result.rank)
        if self._at is None:
            self._starts.append(told)
            if len(self._starts) >= (1 if self._restarted else self.initial):
                self._climb(best_of(self._starts))
            return
        del self._left[0]
        if told.rank > self._best.rank:
            self._best = told
        if self._best is not self._at and (self.improvement == 'first' or not self._left):
            self._climb(self._best)
        elif not self._left:
            self._restart()

    def _climb(self, start: Evaluated) -> None:
        """Go to a genotype, whose neighbours are next."""
        self._stand(start, [])
        self._left = self.generator.permutation(len(self._neighbours)).tolist()
        if not self._left:  # none is allowed
            self._restart()

    def _restart(self) -> None:
        self._starts, self._restarted = [], True
        self._stand(None, [])

    def _stand(self, at: Evaluated | None, left: list[int], best: Evaluated | None = None) -> None:
        """Take where the search stands, and which of its neighbours are left; None: at no place."""
        self._at, self._best, self._left = at, best or at, left
        self._neighbours = [] if at is None else self.neighbours(at.genotype)

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Strategy.state_dict`: the starts, and how far the neighbours are."""
        return dict(
            starts=[start.to_data() for start in self._starts],
            restarted=self._restarted,
            at=self._at and self._at.to_data(),
            best=None if self._best is self._at else self._best.to_data(),
            left=list(self._left),
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Strategy.load_state_dict`."""
        super().load_state_dict(state)
        at, best = (
            state[name] and Evaluated.from_data(state[name], self.space) for name in ('at', 'best')
        )
        self._starts = [Evaluated.from_data(data, self.space) for data in state['starts']]
        self._restarted = state['restarted']
        self._stand(at, list(state['left']), best)
        # of a search that goes on with lower limits, which has fewer neighbours
        self._left = [place for place in self._left if place < len(self._neighbours)]
        if at is not None and not self._left:
            self._restart()
