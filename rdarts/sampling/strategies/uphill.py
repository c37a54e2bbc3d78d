"""What NAO and SemiNAS share: rounds of learning, and of genotypes uphill of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from annotated_types import MinLen
from torch import Tensor

from rdarts.configuration.declarations import Positive
from rdarts.genotypes import Genotype, from_dict
from rdarts.sampling.result import Result
from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.encoder_decoder import EncoderDecoder
from rdarts.sampling.strategies.networks import load_tensors, seeded, tensors_data
from rdarts.sampling.strategies.state import Evaluated, check_entries
from rdarts.sampling.strategies.tokens import Tokens
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config

Widths = Annotated[Sequence[Positive], MinLen(0)]
FURTHEST = 30  # the largest lambda: beyond it, points hardly move


class Uphill(Strategy):
    """In rounds: a network learns, and what lies uphill of the best is asked for.

    The first ``initial`` genotypes are random. In each round :meth:`learn` fits the network to what
    was evaluated, and says which sequences move along its gradient
    (:meth:`~rdarts.sampling.strategies.encoder_decoder.EncoderDecoder.moved`), by lambda = 1, 2,
    and so on, until ``per_round`` genotypes that were not evaluated are written. They are asked
    for; random ones where lambda = 30 does not give as many. The network goes on learning from
    round to round.

    Args:
        initial (int): Random genotypes.
        per_round (int): Genotypes between two fits.
    """

    def __init__(self, initial: int, per_round: int) -> None:
        self.initial, self.per_round = initial, per_round

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`."""
        super().prepare(space, generator, cfg)
        self.tokens = Tokens(space, shared=True)
        self.evaluated: list[Evaluated] = []
        self._next: list[Genotype] = []
        self._network: EncoderDecoder | None = None

    def make_network(self) -> EncoderDecoder:
        """A new network."""
        raise TypeError(f'{type(self).__name__} does not override make_network')

    def learn(self, network: EncoderDecoder, sequences: Tensor, ranks: np.ndarray) -> Tensor:
        """Fit the network.

        Args:
            network (EncoderDecoder): As the round before left it.
            sequences (Tensor): Of what was evaluated, int64 [genotypes, steps].
            ranks (np.ndarray): What they reach, or -inf.

        Returns:
            Tensor: The sequences that move, the best first, int64 [some, steps].
        """
        raise TypeError(f'{type(self).__name__} does not override learn')

    def ask(self) -> Genotype:
        """See :meth:`Strategy.ask`."""
        if len(self.evaluated) < self.initial:
            return self.random()
        if not self._next:
            self._next = self._round()
        return self._next[0]

    def tell(self, genotype: Genotype, result: Result) -> None:
        """See :meth:`Strategy.tell`."""
        self.evaluated.append(Evaluated(genotype, result.rank))
        self._next = self._next[1:]

    def _round(self) -> list[Genotype]:
        """What is asked for next."""
        sequences = self.tokens.of([one.genotype for one in self.evaluated])
        ranks = np.array([one.rank for one in self.evaluated])
        with seeded(int(self.generator.integers(2**31))):
            if self._network is None:
                self._network = self.make_network()
            starts = self.learn(self._network, sequences, ranks)
        known = {one.genotype.to_string() for one in self.evaluated}
        found: list[Genotype] = []
        seen: set[tuple[int, ...]] = set()
        for _, moved in zip(range(FURTHEST), self._network.moved(starts), strict=False):
            for row in map(tuple, moved.tolist()):
                if row in seen:
                    continue
                seen.add(row)
                genotype = self.tokens.genotype(row)
                if genotype.to_string() not in known and self.allows(genotype):
                    known.add(genotype.to_string())
                    found.append(genotype)
            if len(found) >= self.per_round:
                return found[: self.per_round]
        return found + [self.random() for _ in range(self.per_round - len(found))]

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Strategy.state_dict`: what was evaluated, the rest of the round, weights."""
        network = self._network
        return dict(
            evaluated=[one.to_data() for one in self.evaluated],
            next=[genotype.to_dict() for genotype in self._next],
            weights=None if network is None else tensors_data(network.state_dict()),
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Strategy.load_state_dict`."""
        check_entries(self, state, ['evaluated', 'next', 'weights'])
        self.evaluated = [Evaluated.from_data(data, self.space) for data in state['evaluated']]
        left = (from_dict(data).validate(self.space) for data in state['next'])
        self._next = [*filter(self.allows, left)]  # limits may be lower than before
        self._network = None
        if state['weights'] is not None:
            with seeded(0):
                self._network = self.make_network()
            load_tensors(self._network.state_dict(), state['weights'], self)


def best_first(sequences: Tensor, values: Tensor, count: int) -> Tensor:
    """So many sequences of the largest values, of equal ones the first."""
    return sequences[torch.argsort(values, descending=True, stable=True)[:count]]
