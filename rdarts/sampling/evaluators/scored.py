"""What an untrained network promises, by a score."""

from __future__ import annotations

from typing import Annotated

from rdarts.configuration.declarations import Component, Positive
from rdarts.genotypes import Genotype
from rdarts.registry import EVALUATORS, SCORES
from rdarts.sampling.evaluators.untrained import Untrained
from rdarts.sampling.result import Result
from rdarts.sampling.scores import Score


@EVALUATORS.register_module()
class Scored(Untrained):
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
        super().__init__(score, SCORES, repeats, batch_size, noise)
        self.score: Score = self.measures

    def __call__(self, genotype: Genotype) -> Result:
        """See :meth:`Evaluator.__call__`.

        Raises:
            UserError: The score does not fit the network.
        """
        values = self.measured(genotype, self.score)
        return Result(sum(values) / self.repeats, self.networks.costs(genotype))
