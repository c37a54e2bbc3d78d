"""What strategies keep of what they were told, as data and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rdarts.errors import UserError
from rdarts.genotypes import Genotype, form_named, from_dict
from rdarts.search_spaces import SearchSpace


@dataclass(frozen=True)
class Evaluated:
    """A genotype and what it reaches.

    Args:
        genotype (Genotype): The genotype.
        rank (float): See :attr:`rdarts.sampling.result.Result.rank`.
    """

    genotype: Genotype
    rank: float

    def to_data(self) -> dict[str, Any]:
        """JSON data; a rank of -inf, which JSON does not know, is None."""
        rank = self.rank if math.isfinite(self.rank) else None
        return dict(genotype=self.genotype.to_dict(), rank=rank)

    @classmethod
    def from_data(cls, data: Mapping[str, Any], space: SearchSpace) -> Evaluated:
        """Inverse of :meth:`to_data`.

        Raises:
            UserError: The genotype is of another space.
        """
        rank = -math.inf if data['rank'] is None else float(data['rank'])
        return cls(from_dict(data['genotype']).validate(space), rank)


def best_of(evaluated: Iterable[Evaluated]) -> Evaluated:
    """The one of the highest rank, of equal ones the first."""
    return max(evaluated, key=lambda one: one.rank)


def standardised(ranks: np.ndarray) -> np.ndarray:
    """Of mean 0 and deviation 1; the lowest finite one stands for -inf. Zeros where all are equal.

    Args:
        ranks (np.ndarray): See :attr:`rdarts.sampling.result.Result.rank`.
    """
    finite = ranks[np.isfinite(ranks)]
    values = np.where(np.isfinite(ranks), ranks, finite.min() if len(finite) else 0)
    return (values - values.mean()) / (values.std() or 1)


class Baseline:
    """The mean of all rewards so far, of which each weighs ``momentum`` times the next.

    A reward that is not finite counts as the lowest finite one so far.

    Args:
        momentum (float): See above.
    """

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self._total = self._weight = 0.0
        self._lowest: float | None = None

    def advantage(self, reward: float) -> float | None:
        """A reward less the mean, in which it counts already; None before any is finite."""
        if not math.isfinite(reward):
            if self._lowest is None:
                return None
            reward = self._lowest
        self._lowest = reward if self._lowest is None else min(self._lowest, reward)
        self._total = self.momentum * self._total + reward
        self._weight = self.momentum * self._weight + 1
        return reward - self._total / self._weight

    def state_dict(self) -> dict[str, float | None]:
        """As data."""
        return dict(total=self._total, weight=self._weight, lowest=self._lowest)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave, perhaps with more beside it."""
        self._total, self._weight = state['total'], state['weight']
        self._lowest = state['lowest']


def check_mutable(space: SearchSpace) -> None:
    """The space has more genotypes than one.

    Raises:
        UserError: It has not, so that nothing can be mutated.
    """
    draws = np.random.default_rng(0)  # of its own: it is no part of a search
    form_named(space.genotype).random(space, draws).mutated(space, draws)


def check_choices(strategy: Any, rows: Iterable[Sequence[int]], spans: Sequence[range]) -> None:
    """Each row of a state has one number for each choice of a genotype.

    Args:
        strategy (Any): Whose state it is.
        rows (Iterable[Sequence[int]]): The numbers; an empty row, of what was not asked yet, fits.
        spans (Sequence[range]): Which numbers each choice may have.

    Raises:
        UserError: One has not: it is of another space.
    """
    for row in filter(None, rows):
        if len(row) != len(spans) or not all(map(range.__contains__, spans, row)):
            raise UserError(
                f'{type(strategy).__name__}: the state to go on from is not of the space '
                f"'{strategy.space.name}': it is of another space"
            )
