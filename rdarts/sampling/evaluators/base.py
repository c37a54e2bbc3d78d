"""What every evaluator is: it answers what a genotype reaches."""

from __future__ import annotations

from rdarts.genotypes import Genotype
from rdarts.sampling.result import Result
from rdarts.search_spaces import SearchSpace


class Evaluator:
    """Answers what genotypes reach.

    A subclass is registered in ``EVALUATORS``, takes its options in ``__init__`` and overrides
    :meth:`__call__`. The same genotype may be answered otherwise when it is asked for again.
    """

    def prepare(self, space: SearchSpace, seed: int) -> None:
        """Take what is searched.

        Args:
            space (SearchSpace): The space.
            seed (int): Of all that is drawn.

        Raises:
            UserError: The evaluator does not fit the space.
        """
        self.space = space

    def __call__(self, genotype: Genotype) -> Result:
        """What a genotype reaches.

        Args:
            genotype (Genotype): Of the space.
        """
        raise TypeError(f'{type(self).__name__} does not override __call__')
