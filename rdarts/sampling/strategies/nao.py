"""NAO: gradient ascent on the embedding of genotypes (https://arxiv.org/abs/1808.07233)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from rdarts.configuration.declarations import (
    AboveZero,
    BelowOne,
    NotNegative,
    Positive,
    Share,
    check_arguments,
)
from rdarts.registry import STRATEGIES
from rdarts.sampling.strategies.encoder_decoder import EncoderDecoder, Learning
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
        per_round (int): Genotypes between two fits. Defaults to 300.
        top (int): Genotypes that move. Defaults to 100.
        epochs (int): Passes over what was evaluated, in each round. Defaults to 1,000.
        embedding (int): Numbers of an embedded token. Defaults to 48.
        hidden (int): Numbers of a point. Defaults to 96.
        widths (Sequence[int]): Of the predictor's hidden layers; may be none. Defaults to three of
            200.
        dropout (float): Before each of them. Defaults to .1.
        trade_off (float): Weight of the prediction's squared error; the rest is that of the
            decoder's negative log-likelihood. Defaults to .8.
        batch (int): Genotypes a step. Defaults to 50.
        lr (float): Of Adam. Defaults to 1e-3.
        weight_decay (float): Of Adam, as in its L2 form. Defaults to 1e-4.
        clip (float): The largest norm of the gradient. Defaults to 5.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(
        self,
        initial: Positive = 600,
        per_round: Positive = 300,
        top: Positive = 100,
        epochs: Positive = 1000,
        embedding: Positive = 48,
        hidden: Positive = 96,
        widths: Widths = (200,) * 3,
        dropout: BelowOne = 0.1,
        trade_off: Share = 0.8,
        batch: Positive = 50,
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
            embedding=embedding,
            hidden=hidden,
            widths=widths,
            dropout=dropout,
            **learning,
        )
        super().__init__(initial, per_round)
        self.top, self.learning = top, Learning(**learning)
        self.embedding, self.hidden = embedding, hidden
        self.widths, self.dropout = widths, dropout

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
