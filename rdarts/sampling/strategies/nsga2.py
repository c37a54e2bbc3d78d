"""NSGA-II (https://doi.org/10.1109/4235.996017): what is reached and what it costs, at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdarts.configuration.declarations import Positive, Share, check_arguments
from rdarts.genotypes import Genotype
from rdarts.registry import STRATEGIES
from rdarts.sampling.result import Result
from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.state import Evaluated, check_mutable
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config


@STRATEGIES.register_module()
class NSGA2(Strategy):
    """Generations of which those survive that no other one beats in both goals.

    The goals are the value, the larger the better, and a cost, the smaller the better. The first
    ``population`` genotypes are random. A child has two parents, each the winner of a tournament
    of two: the lower front wins, within a front the less crowded one. With probability
    ``crossover`` each of its choices (:meth:`rdarts.genotypes.Genotype.choices`) is that of either
    parent (uniform crossover), else all are the first parent's; then each is drawn anew with
    probability ``mutation``. After ``population`` children, the best of parents and children are
    the next generation, by fronts, and of the last front that fits in part by crowding distance.
    Sorting and crowding are pymoo's. The paper crosses and mutates real numbers or bits; choices
    without an order take these two ways.

    A child that the generation or its children have already is drawn again, as pymoo does it and
    the paper does not. A value that is not finite counts as less than all that are.

    Args:
        cost (str): Which of an evaluator's costs is the second goal, such as ``'params'``.
            Defaults to ``'macs'``.
        population (int): Genotypes of a generation. Defaults to 100, the paper's.
        crossover (float): The probability that a child is of two parents. Defaults to 0.9, the
            paper's.
        mutation (float, optional): Of each choice. Defaults to 1 / the number of choices, the
            paper's.

    Raises:
        UserError: An argument is none of these.
    """

    def __init__(
        self,
        cost: str = 'macs',
        population: Positive = 100,
        crossover: Share = 0.9,
        mutation: Share | None = None,
    ) -> None:
        check_arguments(
            self, cost=cost, population=population, crossover=crossover, mutation=mutation
        )
        self.second_goal, self.population = cost, population
        self.crossover, self.mutation = crossover, mutation

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`."""
        super().prepare(space, generator, cfg)
        check_mutable(space)
        self._ways = np.array(self.form.choices(space))
        self._members: list[_Member] = []
        self._children: list[_Member] = []

    def ask(self) -> Genotype:
        """See :meth:`Strategy.ask`."""
        generation = (*self._members, *self._children)
        known = {one.evaluated.genotype.to_string() for one in generation}
        return self.unknown(self._child if self._members else self.random, known)

    def tell(self, genotype: Genotype, result: Result) -> None:
        """See :meth:`Strategy.tell`.

        Raises:
            UserError: The evaluator gives no such cost.
        """
        evaluated = Evaluated(genotype, result.rank)
        self._children.append(_Member(evaluated, result.cost(self.second_goal)))
        if len(self._children) >= self.population:  # more, where it went on with a smaller one
            self._members = self._survivors([*self._members, *self._children])
            self._children = []

    def _child(self) -> Genotype:
        """One of two winners of tournaments."""
        first, second = (self._ways_of(self._winner()) for _ in range(2))
        if self.generator.random() < self.crossover:
            # -1: a choice that makes no difference to one parent is the other's
            swap = (self.generator.random(len(self._ways)) < 0.5) & (second >= 0) | (first < 0)
            first = np.where(swap, second, first)
        mutation = 1 / len(self._ways) if self.mutation is None else self.mutation
        anew = (self.generator.random(len(self._ways)) < mutation) | (first < 0)
        chosen = np.where(anew, self.generator.integers(self._ways), first)
        return self.form.of_choices(self.space, chosen.tolist())

    def _winner(self) -> Genotype:
        a, b = (self._members[i] for i in self.generator.integers(len(self._members), size=2))
        return max(a, b, key=lambda one: (-one.level, one.crowding)).evaluated.genotype

    def _ways_of(self, genotype: Genotype) -> np.ndarray:
        ways = genotype.chosen(self.space)
        return np.array([-1 if way is None else way for way in ways])

    def _survivors(self, members: list[_Member]) -> list[_Member]:
        """The next generation, each with its front and how far it is from those beside it."""
        from pymoo.core.population import Population
        from pymoo.core.problem import Problem
        from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

        ranks = np.array([one.evaluated.rank for one in members])
        finite = ranks[np.isfinite(ranks)]
        # pymoo's distances need finite numbers
        ranks[~np.isfinite(ranks)] = (finite.min() if len(finite) else 0.0) - 1
        goals = np.stack([-ranks, [one.cost for one in members]], 1)
        population = Population.new(F=goals, i=np.arange(len(members)))
        kept = RankAndCrowding().do(
            Problem(n_obj=2), population, n_survive=self.population, random_state=self.generator
        )
        return [
            _Member(
                members[one.get('i')].evaluated,
                members[one.get('i')].cost,
                int(one.get('rank')),
                float(one.get('crowding')),
            )
            for one in kept
        ]

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Strategy.state_dict`: the generation, and its children."""
        return dict(
            members=[one.to_data() for one in self._members],
            children=[one.to_data() for one in self._children],
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Strategy.load_state_dict`."""
        super().load_state_dict(state)
        self._members, self._children = (
            [_Member.from_data(data, self.space) for data in state[name]]
            for name in ('members', 'children')
        )


@dataclass(frozen=True)
class _Member:
    """One of a generation.

    Args:
        evaluated (Evaluated): The genotype and what it reaches.
        cost (float): What it costs.
        level (int): The number of its front, 0 for what no other one beats. Defaults to 0.
        crowding (float): The distance between those beside it in its front. Defaults to infinity.
    """

    evaluated: Evaluated
    cost: float
    level: int = 0
    crowding: float = np.inf

    def to_data(self) -> dict[str, Any]:
        """JSON data; an infinite crowding is None."""
        crowding = self.crowding if np.isfinite(self.crowding) else None
        return dict(self.evaluated.to_data(), cost=self.cost, level=self.level, crowding=crowding)

    @classmethod
    def from_data(cls, data: Mapping[str, Any], space: SearchSpace) -> _Member:
        """Inverse of :meth:`to_data`.

        Raises:
            UserError: The genotype is of another space.
        """
        crowding = np.inf if data['crowding'] is None else data['crowding']
        return cls(Evaluated.from_data(data, space), data['cost'], data['level'], crowding)
