"""What an untrained network promises, by its place among the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from rdarts.configuration.declarations import Component, Positive
from rdarts.genotypes import Genotype
from rdarts.registry import EVALUATORS, RANKINGS
from rdarts.sampling.evaluators.untrained import Untrained
from rdarts.sampling.result import Result
from rdarts.sampling.scores.ranking import Ranking
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmengine.config import Config


@EVALUATORS.register_module()
class Ranked(Untrained):
    """Answers with the place of a network among all that were asked for, by several scores.

    The value of an answer is that of the set until then, in which a genotype counts as often as it
    was asked for; :meth:`settle` gives the values in the whole set. What was measured of the
    network is in the ``parts`` of its answer, its ``params`` and ``macs`` in the costs.

    Args:
        ranking (str | dict | Ranking): What measures and ranks.
        repeats (int): Starts with other weights, whose scores are averaged one by one. Defaults
            to 1.
        batch_size (int): Images of each batch that the ranking asks for. Defaults to 64.
        noise (bool): Whether images of N(0, 1) stand for those of the config, of which then none
            are read. Defaults to False.
    """

    of_whole_set: ClassVar[bool] = True

    def __init__(
        self,
        ranking: Annotated[str | dict | Ranking, Component('RANKINGS')],
        repeats: Positive = 1,
        batch_size: Positive = 64,
        noise: bool = False,
    ) -> None:
        super().__init__(ranking, RANKINGS, repeats, batch_size, noise)
        self.ranking: Ranking = self.measures

    def prepare(self, space: SearchSpace, seed: int, cfg: Config | None = None) -> None:
        """See :meth:`Untrained.prepare`."""
        super().prepare(space, seed, cfg)
        self._asked: list[Mapping[str, float]] = []

    def go_on(self, results: Sequence[Result]) -> None:
        """See :meth:`Evaluator.go_on`."""
        self._asked = [result.parts for result in results]

    def __call__(self, genotype: Genotype) -> Result:
        """See :meth:`Evaluator.__call__`.

        Raises:
            UserError: A score does not fit the network.
        """
        found = self.measured(genotype, self.ranking.measure)
        parts = {name: sum(one[name] for one in found) / self.repeats for name in found[0]}
        self._asked.append(parts)
        value = self.ranking(self._asked)[-1]
        return Result(value, self.networks.costs(genotype), parts)

    def settle(self, results: Sequence[Result]) -> list[float]:
        """See :meth:`Evaluator.settle`."""
        return self.ranking([result.parts for result in results])
