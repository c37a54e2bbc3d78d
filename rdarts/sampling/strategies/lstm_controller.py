"""A recurrent controller that reinforcement learning trains, as NASNet's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Len
from torch import Tensor, nn

from rdarts.configuration.declarations import (
    AboveZero,
    BelowOne,
    Inside,
    NotNegative,
    Positive,
    check_arguments,
)
from rdarts.genotypes import Genotype
from rdarts.registry import STRATEGIES
from rdarts.sampling.result import Result
from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.networks import load_tensors, tensors_data
from rdarts.sampling.strategies.state import Baseline, check_choices
from rdarts.sampling.strategies.tokens import Tokens
from rdarts.search_spaces import SearchSpace
from rdarts.utils.random_state import seeded

if TYPE_CHECKING:
    from mmengine.config import Config


@STRATEGIES.register_module()
class LSTMController(Strategy):
    """An LSTM draws one choice after the other, and learns from batches of what they reach.

    In each step it reads the way that was drawn last, and a softmax of the step's own gives the
    next. Every ``batch`` genotypes, Adam takes ``updates`` steps. With the rewards r, their
    baseline b, p the controller's probability of a whole sequence and q what it was when that was
    drawn, each descends the clipped objective of PPO (https://arxiv.org/abs/1707.06347),

        L = -mean(min(rho A, clamp(rho, 1 - clip, 1 + clip) A)) - entropy H,    rho = p / q,

    A = r - b, and H the mean entropy of the sequences' softmaxes, added up over the steps. Without
    ``clip`` it is REINFORCE, A log p in the place of the minimum.

    A reward is a hundredth of the value: of an accuracy in %, the share. The baseline is the mean
    of all rewards so far, of which each weighs ``momentum`` times the next, updated with a reward
    before it is used for it. One that is not finite counts as the lowest finite one so far; before
    there is one, nothing is learnt of it. A choice that makes no difference to the genotype is a
    step as any other.

    The search code of NASNet (https://arxiv.org/abs/1707.07012) was never published. From notes on
    it, which are second hand, are: one layer of 100, initial weights within .1, PPO with the
    learning rate 3.5e-4, entropy 1e-5, a moving average of .95 as the baseline, batches of 20, and
    20,000 genotypes of 20 epochs each. How PPO clips, and how many steps a batch gets, is not
    known: .2 is of PPO's paper, and the number of steps ours. A budget of some hundred queries
    needs a larger learning rate.

    ENAS's controller (https://arxiv.org/abs/1802.03268) is near
    ``LSTMController(hidden=64, bias=False, lr=.0035, betas=(0, .999), eps=1e-3, entropy=1e-4,
    momentum=.99, batch=10, updates=1, clip=None)``. In its code the baseline begins at 0, entropy
    is part of the reward and has no gradient, and logits are tempered, which ours are not.

    Args:
        hidden (int): Of the LSTM, and of an embedded way. Defaults to 100.
        bias (bool): Whether the LSTM has one. Defaults to True.
        spread (float): Initial weights are uniform within so much of 0. Defaults to .1.
        lr (float): Of Adam. Defaults to 3.5e-4.
        betas (tuple[float, float]): Of Adam. Defaults to (.9, .999).
        eps (float): Of Adam. Defaults to 1e-8.
        entropy (float): The weight of the entropy, in nats. Defaults to 1e-5.
        momentum (float): Of the baseline. Defaults to .95.
        batch (int): Genotypes between two updates. Defaults to 20.
        updates (int): Steps of Adam on one batch. Defaults to 4.
        clip (float, optional): How far rho may be from 1; None for REINFORCE. Defaults to .2.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(
        self,
        hidden: Positive = 100,
        bias: bool = True,
        spread: AboveZero = 0.1,
        lr: AboveZero = 3.5e-4,
        betas: Annotated[Sequence[BelowOne], Len(2, 2)] = (0.9, 0.999),
        eps: AboveZero = 1e-8,
        entropy: NotNegative = 1e-5,
        momentum: BelowOne = 0.95,
        batch: Positive = 20,
        updates: Positive = 4,
        clip: Inside | None = 0.2,
    ) -> None:
        check_arguments(
            self,
            hidden=hidden,
            bias=bias,
            spread=spread,
            lr=lr,
            betas=betas,
            eps=eps,
            entropy=entropy,
            momentum=momentum,
            batch=batch,
            updates=updates,
            clip=clip,
        )
        self.hidden, self.bias, self.spread = hidden, bias, spread
        self.lr, self.betas, self.eps = lr, tuple(betas), eps
        self.entropy, self.momentum = entropy, momentum
        self.batch, self.updates, self.clip = batch, updates, clip

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`."""
        super().prepare(space, generator, cfg)
        self.tokens = Tokens(space)
        with seeded(int(generator.integers(2**31))):
            self.network = Controller(self.tokens, self.hidden, self.bias, self.spread)
        self._optimizer = torch.optim.Adam(
            self.network.parameters(), lr=self.lr, betas=self.betas, eps=self.eps
        )
        self._drawn: list[int] = []
        self._batch: list[tuple[list[int], float]] = []
        self._baseline = Baseline(self.momentum)

    def ask(self) -> Genotype:
        """See :meth:`Strategy.ask`."""

        def draw() -> Genotype:
            self._drawn = self.network.draw(self.generator)
            return self.tokens.genotype(self._drawn)

        return self.drawn(draw)

    def tell(self, genotype: Genotype, result: Result) -> None:
        """See :meth:`Strategy.tell`."""
        advantage = self._baseline.advantage(result.value / 100)
        if advantage is None:
            return
        self._batch.append((self._drawn, advantage))
        if len(self._batch) == self.batch:
            self._update()
            self._batch = []

    def _update(self) -> None:
        """So many steps of Adam on the batch."""
        sequences = torch.tensor([drawn for drawn, _ in self._batch])
        advantages = torch.tensor([advantage for _, advantage in self._batch])
        with torch.no_grad():
            before, _ = self.network.judge(sequences)
        for _ in range(self.updates):
            self._optimizer.zero_grad()
            log_p, entropy = self.network.judge(sequences)
            gain = clipped_gain(log_p, before, advantages, self.clip)
            (-gain.mean() - self.entropy * entropy.mean()).backward()
            self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Strategy.state_dict`: weights, Adam's averages, the batch, the baseline."""
        return dict(
            weights=tensors_data(self.network.state_dict()),
            averages=[tensors_data(one) for one in self._averages()],
            drawn=self._drawn,
            batch=[list(one) for one in self._batch],
            **self._baseline.state_dict(),
        )

    def _averages(self) -> list[dict[str, Tensor]]:
        """What Adam keeps of each parameter; nothing before its first step."""
        return list(self._optimizer.state_dict()['state'].values())

    def _load_averages(self, data: Sequence[Mapping[str, Any]]) -> None:
        """Inverse of what :meth:`state_dict` makes of :meth:`_averages`."""
        averages = [
            dict(
                step=torch.zeros(()),
                exp_avg=torch.zeros_like(one),
                exp_avg_sq=torch.zeros_like(one),
            )
            for one in (self.network.parameters() if data else ())
        ]
        load_tensors(_by_place(averages), _by_place(data), self)
        optimizer = self._optimizer.state_dict()
        optimizer['state'] = dict(enumerate(averages))
        self._optimizer.load_state_dict(optimizer)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Strategy.load_state_dict`."""
        super().load_state_dict(state)
        load_tensors(self.network.state_dict(), state['weights'], self)
        self._load_averages(state['averages'])
        rows = (state['drawn'], *(drawn for drawn, _ in state['batch']))
        spans = zip(self.tokens.first, self.tokens.ways, strict=True)
        check_choices(self, rows, [range(first, first + ways) for first, ways in spans])
        self._drawn = list(state['drawn'])
        self._batch = [(list(drawn), advantage) for drawn, advantage in state['batch']]
        self._baseline.load_state_dict(state)


def _by_place(dicts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All entries in one dict, each named by its dict's place, too."""
    return {f'{place}.{name}': one[name] for place, one in enumerate(dicts) for name in one}


class Controller(nn.Module):
    """The LSTM, and a softmax for each choice.

    Args:
        tokens (Tokens): What it draws, each choice with tokens of its own.
        hidden (int): Of the LSTM, and of an embedded token.
        bias (bool): Whether the LSTM has one.
        spread (float): Initial weights are uniform within so much of 0.
    """

    def __init__(self, tokens: Tokens, hidden: int, bias: bool, spread: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens.count, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True, bias=bias)
        # of all choices: each reads the rows of its own ways
        self.softmaxes = nn.Linear(hidden, tokens.count)
        self.register_buffer('valid', tokens.valid, persistent=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -spread, spread)
        self.float()

    def draw(self, generator: np.random.Generator) -> list[int]:
        """The tokens of one sequence."""
        state, drawn = None, [0]
        with torch.no_grad():
            for valid in self.valid:
                out, state = self.lstm(self.embed(torch.tensor([drawn[-1:]])), state)
                logits = self.softmaxes(out[0, 0]).masked_fill(~valid, -math.inf)
                below = logits.double().softmax(0).cumsum(0).numpy()
                drawn.append(int((below <= generator.random() * below[-1]).sum()))
        return drawn[1:]

    def judge(self, sequences: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithm of the probability of sequences, and the entropy of their softmaxes.

        Args:
            sequences (Tensor): Int64 [sequences, choices].

        Returns:
            tuple[Tensor, Tensor]: [sequences] each, added up over the choices, in nats.
        """
        out, _ = self.lstm(self.embed(F.pad(sequences[:, :-1], (1, 0))))
        logs = self.softmaxes(out).masked_fill(~self.valid, -math.inf).log_softmax(-1)
        chances = logs.gather(2, sequences[..., None])
        # 0 log 0 is 0
        surprise = logs.exp() * logs.masked_fill(~self.valid, 0)
        return chances.sum((1, 2)), -surprise.sum((1, 2))


def clipped_gain(log_p: Tensor, before: Tensor, advantages: Tensor, clip: float | None) -> Tensor:
    """What PPO climbs, min(rho A, clamp(rho, 1 - clip, 1 + clip) A); A log p without ``clip``.

    Args:
        log_p (Tensor): Logarithms of probabilities now.
        before (Tensor): Those when the sequences were drawn.
        advantages (Tensor): A.
        clip (float, optional): How far rho may be from 1.
    """
    if clip is None:
        return advantages * log_p
    ratio = (log_p - before).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
