"""REINFORCE over independent choices, as in NATS-Bench (https://arxiv.org/abs/2009.00437)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rdarts.configuration.declarations import AboveZero, BelowOne, check_arguments
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.registry import STRATEGIES
from rdarts.sampling.result import Result
from rdarts.sampling.strategies.base import Strategy
from rdarts.sampling.strategies.state import Baseline
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config

SPREAD = 1e-3  # of the first logits
BETAS = (0.9, 0.999)  # of Adam
EPS = 1e-8


@STRATEGIES.register_module()
class Reinforce(Strategy):
    """A policy of independent softmaxes, one for each choice, that climbs the expected reward.

    The choices are those of :meth:`rdarts.genotypes.Genotype.choices`: in NAS-Bench-201 the
    operation of each edge. One genotype is drawn a step; with r what it reaches, p the softmaxes
    and b the baseline, Adam (betas 0.9 and 0.999, no weight decay) descends

        L = -(r - b) sum_c log p_c(chosen),    dL / dlogits_c = (r - b) (p_c - onehot_c).

    A choice that makes no difference to the genotype has no gradient. The baseline is the mean of
    all rewards so far, of which each weighs ``momentum`` times the next (an exponential moving
    average without bias), updated with r before it is used, as in the published code, so that the
    first step is none. The reward is as it is
    evaluated: accuracies in percent.

    A reward that is not finite counts as the lowest finite one so far; before there is one, the
    policy stays.

    Args:
        lr (float): The learning rate. Defaults to 0.01, which the authors' command lines have; on
            NAS-Bench-201 it is hardly better than random search in 100 queries, and 0.1 is.
        momentum (float): Of the baseline. Defaults to 0.9.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(self, lr: AboveZero = 0.01, momentum: BelowOne = 0.9) -> None:
        check_arguments(self, lr=lr, momentum=momentum)
        self.lr, self.momentum = lr, momentum

    def prepare(
        self, space: SearchSpace, generator: np.random.Generator, cfg: Config | None = None
    ) -> None:
        """See :meth:`Strategy.prepare`: the first logits are normal, with deviation 1e-3."""
        super().prepare(space, generator, cfg)
        sizes = np.array(self.form.choices(space))
        # one row a choice; a way that it does not have is never chosen, and has no gradient
        self._ways = np.arange(sizes.max()) < sizes[:, None]
        drawn = SPREAD * generator.standard_normal(self._ways.shape)
        self._logits = np.where(self._ways, drawn, -math.inf)
        self._first, self._second = np.zeros((2, *self._ways.shape))
        self._steps = 0
        self._baseline = Baseline(self.momentum)

    def probabilities(self) -> np.ndarray:
        """The policy: [choices, most ways of one], 0 for a way that a choice does not have."""
        exponentials = np.exp(self._logits - self._logits.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)

    def ask(self) -> Genotype:
        """See :meth:`Strategy.ask`."""
        below = self.probabilities().cumsum(1)

        def draw() -> Genotype:
            draws = self.generator.random((len(below), 1)) * below[:, -1:]
            return self.form.of_choices(self.space, (below <= draws).sum(1).tolist())

        return self.drawn(draw)

    def tell(self, genotype: Genotype, result: Result) -> None:
        """See :meth:`Strategy.tell`."""
        advantage = self._baseline.advantage(result.value)
        if advantage is None:
            return
        self._steps += 1
        grad = advantage * self.probabilities()
        for row, way in enumerate(genotype.chosen(self.space)):
            if way is None:
                grad[row] = 0
            else:
                grad[row, way] -= advantage
        self._descend(grad)

    def _descend(self, grad: np.ndarray) -> None:
        """A step of Adam."""
        self._first += (1 - BETAS[0]) * (grad - self._first)
        self._second += (1 - BETAS[1]) * (grad**2 - self._second)
        first = self._first / (1 - BETAS[0] ** self._steps)
        second = self._second / (1 - BETAS[1] ** self._steps)
        self._logits -= self.lr * first / (np.sqrt(second) + EPS)

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Strategy.state_dict`: logits, the averages of Adam, and the baseline."""
        return dict(
            logits=np.where(self._ways, self._logits, 0).tolist(),
            first=self._first.tolist(),
            second=self._second.tolist(),
            steps=self._steps,
            **self._baseline.state_dict(),
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Strategy.load_state_dict`."""
        super().load_state_dict(state)
        found = {name: np.array(state[name]) for name in ('logits', 'first', 'second')}
        for name, values in found.items():
            if values.shape != self._ways.shape:
                raise UserError(
                    f'Reinforce: the state to go on from has {name} of {list(values.shape)}, but '
                    f"'{self.space.name}' needs {list(self._ways.shape)}: it is of another space"
                )
        self._logits = np.where(self._ways, found['logits'], -math.inf)
        self._first, self._second = found['first'], found['second']
        self._steps = state['steps']
        self._baseline.load_state_dict(state)
