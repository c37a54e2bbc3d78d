"""What every evaluator is: it answers what a genotype reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rdarts.genotypes import Genotype
from rdarts.sampling.result import Result, check_cost
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config


class Evaluator:
    """Answers what genotypes reach.

    A subclass is registered in ``EVALUATORS``, takes its options in ``__init__`` and overrides
    :meth:`__call__`. The same genotype may be answered otherwise when it is asked for again; what
    is drawn follows from the seed and from how many were answered, or from the genotype, so that a
    resumed search is answered as one that was not stopped.

    Attributes:
        of_whole_set (bool): Whether :meth:`settle` changes what was answered before. Defaults to
            False.
        known_costs (Sequence[str], optional): The names of all costs that it answers. Defaults to
            none: they are known by the first answer.
    """

    of_whole_set: ClassVar[bool] = False
    known_costs: Sequence[str] | None = None

    def check_cost(self, name: str) -> None:
        """Refuse a cost that is needed and that no answer will have, as far as that is known.

        Args:
            name (str): Which.

        Raises:
            UserError: It is none of :attr:`known_costs`.
        """
        if self.known_costs is not None:
            check_cost(name, self.known_costs)

    def prepare(self, space: SearchSpace, seed: int, cfg: Config | None = None) -> None:
        """Take what is searched.

        Args:
            space (SearchSpace): The space.
            seed (int): Of all that is drawn.
            cfg (Config, optional): That of the search: ``model`` has the space's supernet, whose
                widths and depth are those of the networks that are derived, ``train_dataloader``
                the images that weights learn from and ``val_dataloader`` those that decide.
                Defaults to none, which is enough for a table.

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

    def go_on(self, results: Sequence[Result]) -> None:
        """Take what was answered before a search was stopped, after :meth:`prepare`.

        Args:
            results (Sequence[Result]): In the order in which they were asked for.
        """

    def settle(self, results: Sequence[Result]) -> list[float]:
        """The values of all that was answered, by which the best is chosen.

        Those of a ranking depend on the whole set; others are what was answered.

        Args:
            results (Sequence[Result]): In the order in which they were asked for.

        Returns:
            list[float]: One a result; what is not finite is -inf.
        """
        return [result.rank for result in results]
