"""Evolution in generations, as one-shot methods search (SPOS, https://arxiv.org/abs/1904.00420)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rdarts.configuration.declarations import Count, Positive, Share, check_arguments
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import STRATEGIES
from rdarts.sampling.result import Result
from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.state import Evaluated, check_mutable
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config

TRIES = 10  # for each child that is wanted, as in the published code
KNOWN = 100  # random draws in a row after which genotypes may come twice: the space is tiny


@STRATEGIES.register_module()
class Evolution(Strategy):
    """Each generation is made of the best genotypes so far, by mutation and by crossover.

    The first generation is random. Each later one has ``mutations`` children that are drawn from
    one of the ``parents`` best genotypes of all generations, whose choices
    (:meth:`rdarts.genotypes.Genotype.choices`) are drawn anew with ``probability`` each, perhaps
    as they were; and ``crossovers`` children of two of these (perhaps the same), each of whose
    choices is that of either. No genotype is asked for twice, as long as there are others: of draws
    that were asked for or are not allowed there are ten for each child that is wanted, and what is
    missing then is random.

    A choice that makes no difference to a parent, such as the operation of an edge that it does not
    keep, is that of the other parent, or random. The published code never ranks its last
    generation; here the best of all queries is found. Generations are counted by the budget: 1,000
    are the 20 of SPOS.

    Args:
        population (int): Of a generation. Defaults to 50.
        parents (int): How many of the best have children. Defaults to 10.
        mutations (int): Children by mutation. Defaults to 25.
        crossovers (int): Children by crossover. Defaults to 25.
        probability (float): That a mutation draws a choice anew. Defaults to 0.1.

    Raises:
        UserError: An argument is out of its range, or there are more children than a generation
            has.
    """

    def __init__(
        self,
        population: Positive = 50,
        parents: Positive = 10,
        mutations: Count = 25,
        crossovers: Count = 25,
        probability: Share = 0.1,
    ) -> None:
        check_arguments(
            self,
            population=population,
            parents=parents,
            mutations=mutations,
            crossovers=crossovers,
            probability=probability,
        )
        if mutations + crossovers > population:
            raise UserError(
                f'Evolution: {mutations} mutations and {crossovers} crossovers are more than a '
                f'population of {population}: give fewer'
            )
        self.population, self.parents = population, parents
        self.mutations, self.crossovers, self.probability = mutations, crossovers, probability

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`."""
        super().prepare(space, generator, cfg)
        check_mutable(space)
        self._ways = self.form.choices(space)
        self._best: list[Evaluated] = []
        self._next: list[Genotype] = []
        self._known: dict[str, None] = {}

    def ask(self) -> Genotype:
        """See :meth:`Strategy.ask`."""
        if not self._next:
            self._next = self._generation()
        return self._next[0]

    def tell(self, genotype: Genotype, result: Result) -> None:
        """See :meth:`Strategy.tell`."""
        self._best.append(Evaluated(genotype, result.rank))
        self._best.sort(key=lambda one: -one.rank)  # of equal ones the first stays first
        del self._best[self.parents :]
        self._next = self._next[1:]

    def _generation(self) -> list[Genotype]:
        """The genotypes that are asked for next."""
        found: list[Genotype] = []
        if self._best:
            chosen = [one.genotype.chosen(self.space) for one in self._best]
            self._add(found, self.mutations, lambda: self._mutation(chosen))
            self._add(found, self.crossovers, lambda: self._crossover(chosen))
        while len(found) < self.population:
            before = len(found)
            self._add(found, 1, self.random, KNOWN)
            if len(found) == before:
                missing = self.population - before
                return found + [self.random() for _ in range(missing)]
        return found

    def _add(
        self, found: list[Genotype], count: int, draw: Callable[[], Genotype], tries: int = TRIES
    ) -> None:
        """Add so many draws that are allowed and new, or those of so many tries for each."""
        wanted = len(found) + count
        for _ in range(tries * count):
            if len(found) == wanted:
                return
            genotype = draw()
            name = genotype.to_string()
            if name not in self._known and self.allows(genotype):
                self._known[name] = None
                found.append(genotype)

    def _mutation(self, chosen: list[list[int | None]]) -> Genotype:
        parent = chosen[self.generator.integers(len(chosen))]
        anew = self.generator.random(len(parent)) < self.probability
        return self._child([None if new else way for way, new in zip(parent, anew, strict=True)])

    def _crossover(self, chosen: list[list[int | None]]) -> Genotype:
        one, other = (chosen[i] for i in self.generator.integers(len(chosen), size=2))
        first = self.generator.random(len(one)) < 0.5
        pairs = ((a, b) if own else (b, a) for a, b, own in zip(one, other, first, strict=True))
        return self._child([b if a is None else a for a, b in pairs])

    def _child(self, ways: list[int | None]) -> Genotype:
        """The genotype of these choices; None is drawn."""
        drawn = self.generator.integers(self._ways).tolist()
        chosen = [new if way is None else way for way, new in zip(ways, drawn, strict=True)]
        return self.form.of_choices(self.space, chosen)

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Strategy.state_dict`: the best, the rest of the generation, all that came."""
        return dict(
            best=[one.to_data() for one in self._best],
            next=[genotype.to_dict() for genotype in self._next],
            known=list(self._known),
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Strategy.load_state_dict`."""
        super().load_state_dict(state)
        self._best = [Evaluated.from_data(data, self.space) for data in state['best']]
        self._next = self.still_allowed(state['next'])
        self._known = dict.fromkeys(state['known'])
