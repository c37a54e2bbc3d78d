"""SemiNAS: NAO with genotypes whose labels are predicted (https://arxiv.org/abs/2002.10389)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rdarts.configuration.declarations import Positive, check_arguments
from rdarts.registry import STRATEGIES
from rdarts.sampling.strategies.encoder_decoder import EncoderDecoder
from rdarts.sampling.strategies.state import standardised
from rdarts.sampling.strategies.uphill import Uphill, Widths, best_first


@STRATEGIES.register_module()
class SemiNAS(Uphill):
    """As NAO, but the network also learns from random genotypes that it labels itself.

    The rounds are those of :class:`~rdarts.sampling.strategies.uphill.Uphill`. In each, the network
    learns for ``epochs`` passes from what was evaluated, what it reaches being standardised; says
    what ``synthetic`` random genotypes reach; and learns for ``semi_epochs`` passes from these and
    ``upsampling`` copies of what was evaluated. The ``top`` best of both move. What is not finite
    counts as the lowest finite value.

    Where this differs from the authors' code for NAS-Bench-101: a genotype is the sequence of its
    choices, see :class:`~rdarts.sampling.strategies.tokens.Tokens`, theirs of its edges and
    operations; they standardise by the mean and the deviation of the whole table, which a search
    does not know; and all of their 1,100 start cells have a validation accuracy of .9 or more, so
    that more than 1,100 were looked at.

    The defaults are of that code: 1,100 cells and three rounds of 300. Its batch is not known to
    us. A budget of some hundred queries needs smaller numbers, as in the method's config.

    Args:
        initial (int): Random genotypes. Defaults to 1,100.
        synthetic (int): Random genotypes that the network labels. Defaults to 10,000.
        semi_epochs (int): Passes over these and what was evaluated. Defaults to 500.
        upsampling (int): Copies of what was evaluated in such a pass. Defaults to 10.
        hidden (int): Numbers of a point, and of an embedded token. Defaults to 64.
        widths (Sequence[int]): Of the predictor's hidden layers; may be none. Defaults to two of
            16.
        batch (int): Genotypes a step. Defaults to 100.
        **kwargs: See :class:`~rdarts.sampling.strategies.uphill.Uphill`.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(
        self,
        initial: Positive = 1100,
        synthetic: Positive = 10_000,
        semi_epochs: Positive = 500,
        upsampling: Positive = 10,
        hidden: Positive = 64,
        widths: Widths = (16, 16),
        batch: Positive = 100,
        **kwargs: Any,
    ) -> None:
        super().__init__(initial=initial, hidden=hidden, widths=widths, batch=batch, **kwargs)
        check_arguments(self, synthetic=synthetic, semi_epochs=semi_epochs, upsampling=upsampling)
        self.semi = replace(self.learning, epochs=semi_epochs)
        self.synthetic, self.upsampling = synthetic, upsampling

    def make_network(self) -> EncoderDecoder:
        """See :meth:`Uphill.make_network`."""
        return EncoderDecoder(self.tokens, self.hidden, self.hidden, self.widths, True, 0.0)

    def learn(self, network: EncoderDecoder, sequences: Tensor, ranks: np.ndarray) -> Tensor:
        """See :meth:`Uphill.learn`."""
        values = torch.from_numpy(standardised(ranks)).float()
        network.learn(sequences, values, self.learning)
        others = self.tokens.of([self.random() for _ in range(self.synthetic)])
        labels = network.values(others)
        network.learn(
            torch.cat([sequences.repeat(self.upsampling, 1), others]),
            torch.cat([values.repeat(self.upsampling), labels]),
            self.semi,
        )
        return best_first(torch.cat([sequences, others]), torch.cat([values, labels]), self.top)
