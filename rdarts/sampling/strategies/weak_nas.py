"""WeakNAS: predictors that need be right about the best alone (https://arxiv.org/abs/2102.10490)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from rdarts.configuration.declarations import Component, Positive, check_arguments
from rdarts.genotypes import Genotype
from rdarts.registry import PREDICTORS, STRATEGIES, build
from rdarts.sampling.strategies.prediction import predicted_order
from rdarts.sampling.strategies.rounds import Rounds
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config


@STRATEGIES.register_module()
class WeakNAS(Rounds):
    """In rounds: fit a predictor to what is known, and ask for some of the best by it.

    The first ``initial`` genotypes are random. In each round, a new predictor learns from the
    vectors of all that were evaluated (:meth:`rdarts.genotypes.Genotype.vector`) what they reach,
    standardised; of the ``top`` genotypes not yet evaluated that it expects most of,
    ``per_round``, drawn uniformly, are asked for. Where a space has more than ``pool`` genotypes,
    each round ranks ``pool`` random ones instead of all.

    The published code standardises by the mean and the deviation of the whole table, which a
    search does not know; here they are of what was evaluated. Its plots take the best test
    accuracy of what was evaluated.

    What is not finite counts as the lowest finite value so far.

    Args:
        predictor (str | dict): One of ``PREDICTORS``, built with ``random_state``. Defaults to
            the published perceptron.
        initial (int): Random genotypes. Defaults to 10, as published.
        per_round (int): Genotypes between two predictors. Defaults to 10, as published.
        top (int): Of how many they are drawn. Defaults to 100, as published.
        pool (int): How many genotypes are ranked, at most. Defaults to 20,000.

    Raises:
        UserError: An argument is none of these.
    """

    def __init__(
        self,
        predictor: Annotated[str | Mapping[str, Any], Component('PREDICTORS')] = 'MLP',
        initial: Positive = 10,
        per_round: Positive = 10,
        top: Positive = 100,
        pool: Positive = 20_000,
    ) -> None:
        check_arguments(self, initial=initial, per_round=per_round, top=top, pool=pool)
        build(predictor, PREDICTORS, random_state=0)
        super().__init__(initial, per_round)
        self.predictor, self.top, self.pool = predictor, top, pool

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`."""
        super().prepare(space, generator, cfg)
        self._all: _Pool | None = None
        ways = self.form.choices(space)
        if math.prod(ways) <= self.pool:
            every = itertools.product(*map(range, ways))
            genotypes = (self.form.of_choices(space, chosen) for chosen in every)
            self._all = _Pool(space, genotypes)

    def round(self) -> list[Genotype]:
        """See :meth:`Rounds.round`; a random genotype where all that is allowed was evaluated."""
        pool = self._all
        if pool is None:
            draws = (self.random() for _ in range(self.pool))
            pool = _Pool(self.space, draws)
        known = {one.genotype.to_string() for one in self.evaluated}
        fresh = np.flatnonzero([name not in known for name in pool.names])
        if not len(fresh):
            return [self.random()]
        seed = int(self.generator.integers(2**31))
        vectors = np.stack([one.genotype.vector(self.space) for one in self.evaluated])
        order = predicted_order(self.predictor, seed, self.evaluated, vectors, pool.vectors[fresh])
        # to count what a genotype costs takes long: not of all
        allowed = (i for i in fresh[order] if self.allows(pool.genotypes[i]))
        best = list(itertools.islice(allowed, self.top))
        if not best:
            return [self.random()]
        drawn = self.generator.choice(best, min(self.per_round, len(best)), replace=False)
        return [pool.genotypes[i] for i in drawn]


class _Pool:
    """Genotypes that a predictor ranks.

    Args:
        space (SearchSpace): Their space.
        genotypes (Iterable[Genotype]): Of equal ones one stays.
    """

    def __init__(self, space: SearchSpace, genotypes: Iterable[Genotype]) -> None:
        by_name = {one.to_string(): one for one in genotypes}
        self.names, self.genotypes = list(by_name), list(by_name.values())
        self.vectors = np.array([one.vector(space) for one in self.genotypes])
