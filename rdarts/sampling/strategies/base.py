"""What every strategy is: it proposes genotypes, and is told what each of them reaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rdarts.genotypes import Genotype
from rdarts.sampling.result import Result
from rdarts.search_spaces import SearchSpace


class Strategy:
    """Proposes one genotype after the other.

    A subclass is registered in ``STRATEGIES``, takes its options in ``__init__``, and overrides
    :meth:`ask`, and what else it needs. It draws from ``self.generator`` alone, whose state a
    search keeps. What it proposes is answered before it is asked again.

    Attributes:
        space (SearchSpace): What is searched.
        generator (np.random.Generator): Of all that is drawn.
    """

    def prepare(self, space: SearchSpace, generator: np.random.Generator) -> None:
        """Take what is searched.

        Args:
            space (SearchSpace): The space.
            generator (np.random.Generator): Of all that is drawn.

        Raises:
            UserError: The strategy does not fit the space.
        """
        self.space, self.generator = space, generator

    def ask(self) -> Genotype:
        """The next genotype that is to be evaluated."""
        raise TypeError(f'{type(self).__name__} does not override ask')

    def tell(self, genotype: Genotype, result: Result) -> None:
        """What the genotype that was asked for last reaches.

        Args:
            genotype (Genotype): That.
            result (Result): What an evaluator answered.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a resumed search needs, as plain data; that of the generator is not in it."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave, after :meth:`prepare`.

        Raises:
            UserError: It is of another strategy or space.
        """
