"""What an untrained network promises, by a score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from rdarts.configuration.declarations import Component, Positive, check_arguments
from rdarts.genotypes import Genotype
from rdarts.registry import EVALUATORS, SCORES, build
from rdarts.sampling.derived import DerivedNetworks
from rdarts.sampling.evaluators.base import Evaluator
from rdarts.sampling.result import Result
from rdarts.sampling.scores import Score
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config


@EVALUATORS.register_module()
class Scored(Evaluator):
    """Answers with a training-free score of the network that a genotype derives.

    The network has the sizes of the supernet of the config; its costs are ``params`` and ``macs``.
    All networks are scored on the same images, and a genotype that is asked for again gets the
    answer that it got. What a score gives of a degenerate network, NaN or an infinity, is the
    value: a search ranks it last and counts it.

    Args:
        score (str | dict | Score): What scores.
        repeats (int): Starts with other weights, whose scores are averaged. Defaults to 1.
        batch_size (int): Images of each batch that the score asks for. Defaults to 64.
        noise (bool): Whether images of N(0, 1) stand for those of the config, of which then none
            are read. Defaults to False.
    """

    def __init__(
        self,
        score: Annotated[str | dict | Score, Component('SCORES')],
        repeats: Positive = 1,
        batch_size: Positive = 64,
        noise: bool = False,
    ) -> None:
        check_arguments(self, repeats=repeats, batch_size=batch_size, noise=noise)
        self.score: Score = build(score, SCORES)
        self.repeats, self.batch_size, self.noise = repeats, batch_size, noise

    def prepare(self, space: SearchSpace, seed: int, cfg: Config | None = None) -> None:
        """See :meth:`Evaluator.prepare`.

        Raises:
            UserError: The config has no supernet of the space, or too few images.
        """
        super().prepare(space, seed, cfg)
        self.networks = DerivedNetworks(cfg, space, seed)
        self._batches = self.networks.batches(self.score.batches, self.batch_size, self.noise)
        self._known: dict[str, Result] = {}

    def __call__(self, genotype: Genotype) -> Result:
        """See :meth:`Evaluator.__call__`.

        Raises:
            UserError: The score does not fit the network.
        """
        text = genotype.to_string()
        if text not in self._known:
            values = []
            for start in range(self.repeats):
                with self.networks.candidate(genotype, start, self.score) as candidate:
                    values.append(self.score(candidate, self._batches))
            costs = self.networks.costs(genotype)
            self._known[text] = Result(sum(values) / self.repeats, costs)
        return self._known[text]
