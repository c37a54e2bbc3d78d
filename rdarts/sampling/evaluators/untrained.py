"""What evaluators of untrained networks share: networks, images, and what was measured of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rdarts.configuration.declarations import check_arguments
from rdarts.genotypes import Genotype
from rdarts.registry import build
from rdarts.sampling.derived import COSTS, DerivedNetworks
from rdarts.sampling.evaluators.base import Evaluator
from rdarts.sampling.scores import Batch, Candidate, Score
from rdarts.sampling.scores.ranking import Ranking
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.registry import Registry


class Untrained(Evaluator):
    """Measures each network once, from each of its starts, all on the same images.

    Args:
        given (str | dict | Score | Ranking): What measures.
        registry (Registry): Of that.
        repeats (int): Starts with other weights.
        batch_size (int): Images of each batch that is asked for.
        noise (bool): Whether images of N(0, 1) stand for those of the config.
    """

    known_costs = COSTS

    def __init__(
        self,
        given: str | dict | Score | Ranking,
        registry: Registry,
        repeats: int,
        batch_size: int,
        noise: bool,
    ) -> None:
        check_arguments(self, repeats=repeats, batch_size=batch_size, noise=noise)
        self.measures: Score | Ranking = build(given, registry)
        self.repeats, self.batch_size, self.noise = repeats, batch_size, noise

    def prepare(self, space: SearchSpace, seed: int, cfg: Config | None = None) -> None:
        """See :meth:`Evaluator.prepare`.

        Raises:
            UserError: The config has no supernet of the space, or too few images.
        """
        super().prepare(space, seed, cfg)
        self.networks = DerivedNetworks(cfg, space, seed)
        self._batches = self.networks.batches(self.measures.batches, self.batch_size, self.noise)
        self._known: dict[str, list[Any]] = {}

    def measured(
        self, genotype: Genotype, measure: Callable[[Candidate, Sequence[Batch]], Any]
    ) -> list[Any]:
        """What a network gives from each start; one that is asked for again, what it gave.

        Args:
            genotype (Genotype): Of the network.
            measure (Callable): Always the same.

        Raises:
            UserError: It does not fit the network.
        """
        text = genotype.to_string()
        if text not in self._known:
            found = []
            for start in range(self.repeats):
                with self.networks.candidate(genotype, start, self.measures) as candidate:
                    found.append(measure(candidate, self._batches))
            self._known[text] = found
        return self._known[text]
