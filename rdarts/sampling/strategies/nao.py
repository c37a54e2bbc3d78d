"""NAO: gradient ascent on the embedding of genotypes (https://arxiv.org/abs/1808.07233)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from rdarts.configuration.declarations import BelowOne, Positive, check_arguments
from rdarts.registry import STRATEGIES
from rdarts.sampling.strategies.encoder_decoder import EncoderDecoder
from rdarts.sampling.strategies.uphill import Uphill, Widths, best_first


@STRATEGIES.register_module()
class NAO(Uphill):
    """Encoder, predictor and decoder learn from what was evaluated; the best of it move uphill.

    The rounds are those of :class:`~rdarts.sampling.strategies.uphill.Uphill`, the network is
    :class:`~rdarts.sampling.strategies.encoder_decoder.EncoderDecoder`. It learns the place of each
    genotype among the n evaluated, (k - 1/2) / n of the k-th from below, equal ones sharing theirs,
    and to write them; the ``top`` best move. What is not finite is placed last. The authors' first
    code predicts the rank of the error instead, and descends it, which is the same.

    A genotype is the sequence of its choices, see
    :class:`~rdarts.sampling.strategies.tokens.Tokens`; what the authors' codes write are the nodes
    and operations of their own spaces.

    The defaults are of that code, with 600 seed cells and 300 more a round. Its batch is not known
    to us, nor how its optimizer is set: the batch is that of the search without shared weights,
    which has embeddings of 32 numbers, no hidden layer in the predictor, and lambda = 10, 20, 30;
    learning rate, weight decay and the largest norm of the gradient are SemiNAS's. A budget of some
    hundred queries needs smaller numbers, as in the method's config.

    Args:
        initial (int): Random genotypes. Defaults to 600.
        embedding (int): Numbers of an embedded token. Defaults to 48.
        hidden (int): Numbers of a point. Defaults to 96.
        widths (Sequence[int]): Of the predictor's hidden layers; may be none. Defaults to three of
            200.
        dropout (float): Before each of them. Defaults to .1.
        batch (int): Genotypes a step. Defaults to 50.
        **kwargs: See :class:`~rdarts.sampling.strategies.uphill.Uphill`.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(
        self,
        initial: Positive = 600,
        embedding: Positive = 48,
        hidden: Positive = 96,
        widths: Widths = (200,) * 3,
        dropout: BelowOne = 0.1,
        batch: Positive = 50,
        **kwargs: Any,
    ) -> None:
        super().__init__(initial=initial, hidden=hidden, widths=widths, batch=batch, **kwargs)
        check_arguments(self, embedding=embedding, dropout=dropout)
        self.embedding, self.dropout = embedding, dropout

    def make_network(self) -> EncoderDecoder:
        """See :meth:`Uphill.make_network`."""
        return EncoderDecoder(
            self.tokens, self.embedding, self.hidden, self.widths, False, self.dropout
        )

    def learn(self, network: EncoderDecoder, sequences: Tensor, ranks: np.ndarray) -> Tensor:
        """See :meth:`Uphill.learn`."""
        places = rankdata(ranks)  # of equal ones their mean
        values = torch.from_numpy((places - 0.5) / len(places)).float()
        network.learn(sequences, values, self.learning)
        return best_first(sequences, values, self.top)
