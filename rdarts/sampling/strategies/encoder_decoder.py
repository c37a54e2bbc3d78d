"""The network of NAO and SemiNAS: from a sequence to a point, to what it reaches, and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.sampling.strategies.tokens import Tokens


@dataclass(frozen=True)
class Learning:
    """How the network learns.

    Args:
        epochs (int): Passes over what is known.
        batch (int): Sequences a step.
        lr (float): Of Adam.
        weight_decay (float): Of Adam, added to the gradient.
        clip (float): The largest norm of the gradient.
        trade_off (float): Weight of the prediction's error; the rest is that of the decoder's.
    """

    epochs: int
    batch: int
    lr: float
    weight_decay: float
    clip: float
    trade_off: float


class EncoderDecoder(nn.Module):
    """Encoder, predictor and decoder over sequences of tokens.

    With x the embedded tokens, the encoder gives one point of the unit sphere for each step, and
    their mean, on it as well, is what the predictor reads and the decoder starts from:

        h_t = LSTM(x)_t / |LSTM(x)_t|,    e = mean_t h_t / |mean_t h_t|

    The decoder's LSTM begins at (e, e) and is given the token before; with d_t its output, it
    attends to the encoder's: c_t = sum_s softmax_s(h_s W d_t) h_s, and the next token has the
    logits V tanh(U [c_t, d_t]).

    Args:
        tokens (Tokens): What sequences are made of.
        embedding (int): Numbers of an embedded token.
        hidden (int): Of a point.
        widths (Sequence[int]): Of the predictor's hidden layers.
        both_ways (bool): SemiNAS's encoder and predictor instead of NAO's. The encoder reads
            forwards and backwards, its outputs are projected and added to the embedded tokens, so
            that ``embedding`` is ``hidden``; between hidden layers of equal width, the predictor
            adds what goes in, and multiplies by sqrt(.5). NAO's predictor ends in a sigmoid.
        dropout (float): Before each hidden layer of the predictor.
    """

    def __init__(
        self,
        tokens: Tokens,
        embedding: int,
        hidden: int,
        widths: Sequence[int],
        both_ways: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.both_ways, self.dropout = both_ways, dropout
        self.embed = nn.Embedding(tokens.count, embedding)
        self.encoder = nn.LSTM(embedding, hidden, batch_first=True, bidirectional=both_ways)
        self.project = nn.Linear(2 * hidden, hidden) if both_ways else None
        sizes = [hidden, *widths]
        self.layers = nn.ModuleList(map(nn.Linear, sizes, widths))
        self.regress = nn.Linear(sizes[-1], 1)
        self.given = nn.Embedding(tokens.count, embedding)
        self.decoder = nn.LSTM(embedding, hidden, batch_first=True)
        self.attend = nn.Linear(hidden, hidden, bias=False)
        self.combine = nn.Linear(2 * hidden, hidden)
        self.out = nn.Linear(hidden, tokens.count)
        self.register_buffer('valid', tokens.valid, persistent=False)
        self.float()

    def encode(self, sequences: Tensor) -> Tensor:
        """The points of the steps.

        Args:
            sequences (Tensor): Int64 [sequences, steps].

        Returns:
            Tensor: [sequences, steps, hidden], each of length 1.
        """
        embedded = self.embed(sequences)
        steps, _ = self.encoder(embedded)
        if self.project is not None:
            steps = embedded + self.project(steps)
        return F.normalize(steps, dim=-1)

    def predict(self, steps: Tensor) -> Tensor:
        """What sequences reach, by the points of their steps: [sequences]."""
        x = _mean_point(steps)
        for layer in self.layers:
            entered = x
            x = F.relu(layer(F.dropout(x, self.dropout, self.training)))
            if self.both_ways and layer.in_features == layer.out_features:
                x = (entered + x) * math.sqrt(0.5)
        value = self.regress(x).squeeze(-1)
        return value if self.both_ways else value.sigmoid()

    def values(self, sequences: Tensor) -> Tensor:
        """What sequences are expected to reach, [sequences], without dropout and gradients."""
        self.eval()
        with torch.no_grad():
            return self.predict(self.encode(sequences))

    def logits(self, steps: Tensor, sequences: Tensor) -> Tensor:
        """Of each token, given those before it.

        Args:
            steps (Tensor): From :meth:`encode`.
            sequences (Tensor): Int64 [sequences, steps].

        Returns:
            Tensor: [sequences, steps, tokens].
        """
        before = F.pad(sequences[:, :-1], (1, 0))
        point = _mean_point(steps)[None]
        return self._write(steps, before, (point, point))[0]

    def _write(
        self, steps: Tensor, before: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits of the tokens after those given, and the decoder's state."""
        decoded, state = self.decoder(self.given(before), state)
        weights = (self.attend(decoded) @ steps.transpose(1, 2)).softmax(-1)
        seen = torch.cat([weights @ steps, decoded], -1)
        return self.out(self.combine(seen).tanh()), state

    def decode(self, steps: Tensor) -> Tensor:
        """The likeliest token of each choice among its ways, one after the other.

        The decoder goes on from the likeliest of these and 0, which says that the choice makes no
        difference.

        Args:
            steps (Tensor): From :meth:`encode`.

        Returns:
            Tensor: Int64 [sequences, steps].
        """
        before = torch.zeros(len(steps), 1, dtype=torch.int64)
        point = _mean_point(steps)[None]
        state, written = (point, point), []
        for valid in self.valid:
            logits, state = self._write(steps, before, state)
            ways = logits[:, 0].masked_fill(~valid, -math.inf)
            best = ways.argmax(-1)
            written.append(best)
            before = best.masked_fill(logits[:, 0, 0] > ways.amax(-1), 0)[:, None]
        return torch.stack(written, 1)

    def moved(self, sequences: Tensor) -> Iterator[Tensor]:
        """Sequences near others, which reach more as the predictor has it.

        The points of the steps go along its gradient, by lambda = 1, 2, and so on, and back to the
        sphere: h_t + lambda dvalue / dh_t over its length; the decoder makes a sequence of them.

        Args:
            sequences (Tensor): Int64 [sequences, steps].

        Yields:
            Tensor: Int64 [sequences, steps], for each lambda; there is no end.
        """
        self.eval()
        steps = self.encode(sequences).detach().requires_grad_()
        with torch.enable_grad():
            (uphill,) = torch.autograd.grad(self.predict(steps).sum(), steps)
        steps, factor = steps.detach(), 0
        while True:
            factor += 1
            with torch.no_grad():
                yield self.decode(F.normalize(steps + factor * uphill, dim=-1))

    def learn(self, sequences: Tensor, values: Tensor, how: Learning) -> None:
        """Learn what sequences reach, and to write them.

        A step of Adam descends trade_off (value - predicted)^2 + (1 - trade_off) NLL, each a mean
        over the batch, NLL also over the steps. Order and dropout are drawn from PyTorch's
        generator of the CPU.

        Args:
            sequences (Tensor): Int64 [sequences, steps].
            values (Tensor): [sequences], float32.
            how (Learning): The settings.
        """
        self.train()
        optimizer = torch.optim.Adam(
            self.parameters(), lr=how.lr, weight_decay=how.weight_decay, foreach=True
        )
        for _ in range(how.epochs):
            for chosen in torch.randperm(len(sequences)).split(how.batch):
                optimizer.zero_grad()
                self.loss(sequences[chosen], values[chosen], how.trade_off).backward()
                nn.utils.clip_grad_norm_(self.parameters(), how.clip)
                optimizer.step()

    def loss(self, sequences: Tensor, values: Tensor, trade_off: float) -> Tensor:
        """See :meth:`learn`; a number."""
        steps = self.encode(sequences)
        logits = self.logits(steps, sequences)
        error = F.mse_loss(self.predict(steps), values)
        return trade_off * error + (1 - trade_off) * F.cross_entropy(
            logits.flatten(0, 1), sequences.flatten()
        )


def _mean_point(steps: Tensor) -> Tensor:
    """The mean of points [sequences, steps, hidden], on the sphere again: [sequences, hidden]."""
    return F.normalize(steps.mean(1), dim=-1)
