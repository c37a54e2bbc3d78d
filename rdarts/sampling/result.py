"""What an evaluator answers of a genotype."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rdarts.errors import UserError


@dataclass(frozen=True)
class Result:
    """What a genotype reaches, and what it costs.

    Args:
        value (float): The larger, the better: an accuracy in %, or a score. NaN and infinities are
            what a score may give of a degenerate network.
        costs (Mapping[str, float]): By name, such as ``macs``: the smaller, the better. Defaults to
            none.
        parts (Mapping[str, float]): What the value is made of, by name, such as the scores that a
            ranking measures. Defaults to none.
    """

    value: float
    costs: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    parts: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def rank(self) -> float:
        """By what results are compared: what is not finite comes last."""
        return self.value if math.isfinite(self.value) else -math.inf

    def cost(self, name: str) -> float:
        """One of the costs.

        Args:
            name (str): Which.

        Raises:
            UserError: There is none of that name, and the line has those that there are; or it is
                not finite.
        """
        check_cost(name, self.costs)
        if not math.isfinite(self.costs[name]):
            raise UserError(
                f"the evaluator answers a cost '{name}' of {self.costs[name]}: a search that looks "
                'at it needs finite ones'
            )
        return self.costs[name]


def check_cost(name: str, costs: Collection[str]) -> None:
    """Refuse a cost that is none of those that are answered.

    Args:
        name (str): Which is looked at.
        costs (Collection[str]): The names of those that there are.

    Raises:
        UserError: It is none of them.
    """
    if name not in costs:
        there = ', '.join(f"'{one}'" for one in costs) or 'none'
        raise UserError(f"the evaluator answers no cost '{name}'; those that there are: {there}")
