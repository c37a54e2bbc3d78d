"""What NAO and SemiNAS share: rounds of learning, and of genotypes uphill of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from annotated_types import MinLen
from torch import Tensor

from rdarts.configuration.declarations import Positive
from rdarts.genotypes import Genotype
from rdarts.sampling.strategies.encoder_decoder import EncoderDecoder
from rdarts.sampling.strategies.networks import load_tensors, seeded, tensors_data
from rdarts.sampling.strategies.rounds import Rounds
from rdarts.sampling.strategies.tokens import Tokens
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config

Widths = Annotated[Sequence[Positive], MinLen(0)]
FURTHEST = 30  # the largest lambda: beyond it, points hardly move


class Uphill(Rounds):
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

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`."""
        super().prepare(space, generator, cfg)
        self.tokens = Tokens(space, shared=True)
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

    def round(self) -> list[Genotype]:
        """See :meth:`Rounds.round`."""
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
            super().state_dict(),
            weights=None if network is None else tensors_data(network.state_dict()),
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Strategy.load_state_dict`."""
        super().load_state_dict(state)
        self._network = None
        if state['weights'] is not None:
            with seeded(0):
                self._network = self.make_network()
            load_tensors(self._network.state_dict(), state['weights'], self)


def best_first(sequences: Tensor, values: Tensor, count: int) -> Tensor:
    """So many sequences of the largest values, of equal ones the first."""
    return sequences[torch.argsort(values, descending=True, stable=True)[:count]]
