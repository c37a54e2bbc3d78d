"""Evolution in which the oldest dies (AmoebaNet, https://arxiv.org/abs/1802.01548)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rdarts.configuration.declarations import Positive, check_arguments
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import STRATEGIES
from rdarts.sampling.result import Result
from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.state import Evaluated, best_of, check_mutable
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config


@STRATEGIES.register_module()
class RegularizedEvolution(Strategy):
    """Aging evolution: a mutation of a tournament's winner takes the place of the oldest.

    The first ``population`` genotypes are random. From then on ``sample`` members are drawn, the
    best of them is the parent, and its mutation (:meth:`rdarts.genotypes.Genotype.mutated`) joins
    the population, whose oldest member leaves it. The code of NATS-Bench takes a population of 10
    and a sample of 3, that of NASLib 50 and 10.

    Args:
        population (int): Its size. Defaults to 100, the paper's.
        sample (int): Members of a tournament. Defaults to 25, the paper's.
        replacement (bool): Whether a tournament may draw a member more than once. Defaults to
            True, as the paper has it.

    Raises:
        UserError: A number is not positive, or a tournament without replacement is larger than the
            population.
    """

    def __init__(
        self, population: Positive = 100, sample: Positive = 25, replacement: bool = True
    ) -> None:
        check_arguments(self, population=population, sample=sample, replacement=replacement)
        if not replacement and sample > population:
            raise UserError(
                f'RegularizedEvolution: a sample of {sample} cannot be drawn from a population of '
                f'{population} without replacement: give a smaller one'
            )
        self.population, self.sample, self.replacement = population, sample, replacement

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`."""
        super().prepare(space, generator, cfg)
        check_mutable(space)
        self._members: deque[Evaluated] = deque(maxlen=self.population)

    def ask(self) -> Genotype:
        """See :meth:`Strategy.ask`."""
        if len(self._members) < self.population:
            return self.random()
        drawn = self.generator.choice(self.population, self.sample, replace=self.replacement)
        parent = best_of(self._members[i] for i in drawn)
        return self.mutated(parent.genotype)

    def tell(self, genotype: Genotype, result: Result) -> None:
        """See :meth:`Strategy.tell`."""
        self._members.append(Evaluated(genotype, result.rank))

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Strategy.state_dict`: the population, the oldest first."""
        return dict(population=[member.to_data() for member in self._members])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Strategy.load_state_dict`."""
        super().load_state_dict(state)
        members = [Evaluated.from_data(data, self.space) for data in state['population']]
        self._members = deque(members, self.population)
