"""ParZC: scores of single layers that a predictor reads (https://arxiv.org/abs/2402.02105)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from annotated_types import Ge

from rdarts.configuration.declarations import Component, Positive, check_arguments
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import PREDICTORS, SCORES, STRATEGIES, build
from rdarts.sampling.derived import DerivedNetworks
from rdarts.sampling.result import Result
from rdarts.sampling.scores import Score
from rdarts.sampling.scores.gradients import layers_of
from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.prediction import predicted_order
from rdarts.sampling.strategies.state import Evaluated
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config


@STRATEGIES.register_module()
class ParZC(Strategy):
    """Ask for random genotypes, fit a predictor to scores of their layers, ask for the best by it.

    It is not free of training: the first ``labels`` genotypes, different random ones, are queries
    as all others. Each network that they derive, as it starts, is scored layer by layer, on one
    batch of images: grad_norm (the norm of each layer's gradient), snip and synflow (their mean
    over the layer's weights). The scores of one kind are scaled to [0, 1] within a network, what is
    not a number is 0, and the rows are filled up with zeros at their end. From these vectors the
    predictor learns what the genotypes reach, standardised. Then ``pool`` other random genotypes
    are scored likewise, and asked for in the order of what is predicted of them, until the budget
    is spent.

    The published code standardises by mean and deviation of the whole table, which a search does
    not know; here they are of the labels. It ranks all cells of NAS-Bench-201, and reports the best
    test accuracy of the five that it predicts the most of. Its predictor reads the cell's graph,
    too: see :class:`rdarts.sampling.predictors.bayesian_mixer.BayesianMixer`.

    What is not finite counts as the lowest finite value so far.

    Args:
        labels (int): Random genotypes that the predictor learns from. Defaults to 156: 1 % of
            NAS-Bench-201, one of the published numbers.
        pool (int): How many genotypes are ranked. Defaults to 1000.
        predictor (str | dict): One of ``PREDICTORS``, built with ``random_state``. Defaults to
            the published mixer.
        scores (Sequence): Which scores, sums over layers. Defaults to the published three.
        batch_size (int): Images. Defaults to 16, as published.
        noise (bool): Whether images of N(0, 1) stand for those of the config. Defaults to False.

    Raises:
        UserError: An argument is none of these.
    """

    def __init__(
        self,
        labels: Annotated[int, Ge(2)] = 156,
        pool: Positive = 1000,
        predictor: Annotated[str | Mapping[str, Any], Component('PREDICTORS')] = 'BayesianMixer',
        scores: Sequence[Annotated[str | Mapping[str, Any], Component('SCORES')]] = (
            'GradNorm',
            'Snip',
            'SynFlow',
        ),
        batch_size: Positive = 16,
        noise: bool = False,
    ) -> None:
        check_arguments(
            self, labels=labels, pool=pool, scores=scores, batch_size=batch_size, noise=noise
        )
        build(predictor, PREDICTORS, random_state=0)
        self.labels, self.pool, self.predictor = labels, pool, predictor
        self.long_after = labels  # networks of labels and pool are scored, a predictor is fitted
        self.scores: list[Score] = [build(score, SCORES) for score in scores]
        for score in self.scores:
            if type(score).per_layer is Score.per_layer:
                raise UserError(
                    f'ParZC: the score {type(score).__name__} has no value of a single layer: take '
                    'sums over layers, such as GradNorm, Snip, Plain and SynFlow'
                )
        self.batch_size, self.noise = batch_size, noise

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`.

        Raises:
            UserError: The config has no supernet of the space, or too few images, or its budget is
                spent on labels.
        """
        super().prepare(space, generator, cfg)
        self._networks = DerivedNetworks(cfg, space, 0)
        if cfg.get('budget', math.inf) <= self.labels:
            raise UserError(
                f'ParZC: a budget of {cfg.budget} is spent on the {self.labels} labels, before '
                'anything is predicted: set strategy.labels lower, or budget higher'
            )
        self._take(int(generator.integers(2**31)))
        self._labelled: list[Evaluated] = []
        self._next: list[Genotype] | None = None  # until it is fitted

    def _take(self, seed: int) -> None:
        """The seed of all networks, and of which images they are scored on."""
        self._networks.seed = seed
        count = max(score.batches for score in self.scores)
        self._batches = self._networks.batches(count, self.batch_size, self.noise)

    def ask(self) -> Genotype:
        """See :meth:`Strategy.ask`."""
        if len(self._labelled) < self.labels:
            known = {one.genotype.to_string() for one in self._labelled}
            return self.unknown(self.random, known)
        if self._next is None:
            self._next = self._ranked()
        return self._next[0] if self._next else self.random()

    def tell(self, genotype: Genotype, result: Result) -> None:
        """See :meth:`Strategy.tell`."""
        if len(self._labelled) < self.labels:
            self._labelled.append(Evaluated(genotype, result.rank))
        elif self._next:
            self._next = self._next[1:]

    def _ranked(self) -> list[Genotype]:
        """A pool of genotypes, those that the predictor expects most of first."""
        learnt = [one.genotype for one in self._labelled]
        known = {genotype.to_string() for genotype in learnt}
        pool: dict[str, Genotype] = {}
        for _ in range(self.pool):
            genotype = self.unknown(self.random, known | set(pool))
            pool.setdefault(genotype.to_string(), genotype)
        seed = int(self.generator.integers(2**31))
        rows = [self.vector(genotype) for genotype in (*learnt, *pool.values())]
        longest = max(row.shape[1] for row in rows)
        vectors = np.stack([np.pad(row, [(0, 0), (0, longest - row.shape[1])]) for row in rows])
        vectors = vectors.reshape(len(rows), -1)
        order = predicted_order(
            self.predictor, seed, self._labelled, vectors[: len(learnt)], vectors[len(learnt) :]
        )
        genotypes = list(pool.values())
        return [genotypes[i] for i in order]

    def vector(self, genotype: Genotype) -> np.ndarray:
        """The scores of the layers of a genotype's network: [scores, layers], in [0, 1]."""
        rows = []
        with self._networks.candidate(genotype) as candidate:
            sizes = [layer.weight.numel() for layer in layers_of(candidate.network)]
            for score in self.scores:
                terms = torch.stack(score.per_layer(candidate, self._batches)).double().cpu()
                rows.append(terms.numpy() / (sizes if score.additive else 1))
        return np.stack([_scaled(row) for row in rows])

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Strategy.state_dict`: the seed, the labels, and what is left of the pool."""
        ranked = self._next and [genotype.to_dict() for genotype in self._next]
        return dict(
            seed=self._networks.seed,
            labelled=[one.to_data() for one in self._labelled],
            next=ranked,
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Strategy.load_state_dict`."""
        super().load_state_dict(state)
        self._labelled = [Evaluated.from_data(data, self.space) for data in state['labelled']]
        ranked = state['next']
        self._next = None if ranked is None else self.still_allowed(ranked)
        self._take(state['seed'])


def _scaled(row: np.ndarray) -> np.ndarray:
    """Its least number as 0, its largest as 1; what is not a number afterwards is 0."""
    with np.errstate(invalid='ignore', divide='ignore'):
        low, high = np.fmin.reduce(row), np.fmax.reduce(row)  # of the numbers, if there are any
        scaled = (row - low) / (high - low)
    return np.where(np.isfinite(scaled), scaled, 0)
