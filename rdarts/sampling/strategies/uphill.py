"""What NAO and SemiNAS share: rounds of learning, and of genotypes uphill of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from annotated_types import MinLen
from torch import Tensor

from rdarts.configuration.declarations import (
    AboveZero,
    NotNegative,
    Positive,
    Share,
    check_arguments,
)
from rdarts.genotypes import Genotype
from rdarts.sampling.strategies.encoder_decoder import EncoderDecoder, Learning
from rdarts.sampling.strategies.networks import load_tensors, tensors_data
from rdarts.sampling.strategies.rounds import Rounds
from rdarts.sampling.strategies.tokens import Tokens
from rdarts.search_spaces import SearchSpace
from rdarts.utils.random_state import seeded

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
        hidden (int): Numbers of a point.
        widths (Sequence[int]): Of the predictor's hidden layers; may be none.
        batch (int): Genotypes a step.
        per_round (int): Genotypes between two fits. Defaults to 300.
        top (int): Genotypes that move. Defaults to 100.
        epochs (int): Passes over what was evaluated, in each round. Defaults to 1,000.
        trade_off (float): Weight of the prediction's squared error; the rest is that of the
            decoder's negative log-likelihood. Defaults to .8.
        lr (float): Of Adam. Defaults to 1e-3.
        weight_decay (float): Of Adam, as in its L2 form. Defaults to 1e-4.
        clip (float): The largest norm of the gradient. Defaults to 5.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(
        self,
        initial: Positive,
        hidden: Positive,
        widths: Widths,
        batch: Positive,
        per_round: Positive = 300,
        top: Positive = 100,
        epochs: Positive = 1000,
        trade_off: Share = 0.8,
        lr: AboveZero = 1e-3,
        weight_decay: NotNegative = 1e-4,
        clip: AboveZero = 5.0,
    ) -> None:
        learning = dict(
            epochs=epochs,
            batch=batch,
            lr=lr,
            weight_decay=weight_decay,
            clip=clip,
            trade_off=trade_off,
        )
        check_arguments(
            self,
            initial=initial,
            per_round=per_round,
            top=top,
            hidden=hidden,
            widths=widths,
            **learning,
        )
        super().__init__(initial, per_round)
        self.top, self.learning = top, Learning(**learning)
        self.hidden, self.widths = hidden, widths

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
