"""What a search has asked for and was answered, as data and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.dist import broadcast_object_list

from rdarts.checkpoint.schema import EntryError, Maybe, Number, Plain, Table, Text, check_entry
from rdarts.genotypes import Genotype, from_dict
from rdarts.sampling.evaluators import Evaluator
from rdarts.sampling.result import Result
from rdarts.search_spaces import SearchSpace

NOT_FINITE = {'nan': math.nan, 'inf': math.inf, '-inf': -math.inf}
_NUMBERS = Table(others=Plain())
_ASKED = Table(
    dict(genotype=_NUMBERS, value=Maybe(Number()), costs=_NUMBERS, parts=_NUMBERS),
    may=dict(not_finite=Text(tuple(NOT_FINITE))),
)


def result_data(result: Result) -> dict[str, Any]:
    """A result as JSON data, which knows no NaN: ``not_finite`` then says what the value is."""
    value, extra = result.value, {}
    if not math.isfinite(value):
        value, extra = None, dict(not_finite=_named(value))
    parts = {name: _number(part) for name, part in result.parts.items()}
    costs = {name: _number(cost) for name, cost in result.costs.items()}
    return dict(value=value, **extra, costs=costs, parts=parts)


def _named(value: float) -> str:
    return 'nan' if math.isnan(value) else 'inf' if value > 0 else '-inf'


def _number(value: float) -> float | str:
    return float(value) if math.isfinite(value) else _named(value)


def _value(data: Any) -> float:
    return NOT_FINITE[data] if isinstance(data, str) else float(data)


@dataclass(frozen=True)
class Asked:
    """A query.

    Args:
        genotype (Genotype): What was asked for.
        result (Result): What was answered.
    """

    genotype: Genotype
    result: Result

    def to_data(self) -> dict[str, Any]:
        """JSON data."""
        return dict(genotype=self.genotype.to_dict(), **result_data(self.result))

    @classmethod
    def from_data(cls, data: Mapping[str, Any], space: SearchSpace) -> Asked:
        """Inverse of :meth:`to_data`.

        Raises:
            UserError: It is none, or of another space.
        """
        check_entry(data, _ASKED, 'asked')
        try:
            value = data['value']
            result = Result(
                _value(data['not_finite'] if value is None else value),
                {name: _value(cost) for name, cost in data['costs'].items()},
                {name: _value(part) for name, part in data['parts'].items()},
            )
        except (KeyError, TypeError, ValueError):
            raise EntryError('asked', 'is no answer of an evaluator') from None
        return cls(from_dict(data['genotype']).validate(space), result)


def of_first_rank(asked: Asked | None, space: SearchSpace) -> Asked:
    """What the first rank was answered, on each rank.

    Args:
        asked (Asked, optional): That, on the first rank; elsewhere none.
        space (SearchSpace): What is searched.
    """
    data = [asked and asked.to_data()]  # not all that a result may hold can be sent
    broadcast_object_list(data)
    return asked or Asked.from_data(data[0], space)


class History:
    """All queries of a search, and which of them is the best.

    Args:
        evaluator (Evaluator): Which answers them: where its values are of a whole set, all of them
            change with each query.
        asked (Sequence[Asked]): The first queries. Defaults to none.

    Attributes:
        asked (list[Asked]): Every query, in order.
        best (int): Which of them is the best, the first of equals; -1 where there is none.
        value (float): Of the best.
        not_finite (int): How many have no finite value: they are queries, and come last.
    """

    def __init__(self, evaluator: Evaluator, asked: Sequence[Asked] = ()) -> None:
        self.evaluator = evaluator
        self.asked: list[Asked] = []
        self.best, self.value, self.not_finite = -1, -math.inf, 0
        for one in asked[:-1]:
            self._take(one)
        for one in asked[-1:]:
            self.add(one)

    def __len__(self) -> int:
        return len(self.asked)

    def add(self, one: Asked) -> None:
        """Add a query."""
        self._take(one)
        if self.evaluator.of_whole_set:
            values = self.evaluator.settle([asked.result for asked in self.asked])
            self.best = max(range(len(values)), key=lambda index: values[index])
            self.value = values[self.best]

    def _take(self, one: Asked) -> None:
        self.asked.append(one)
        self.not_finite += not math.isfinite(one.result.value)
        if self.best < 0 or one.result.rank > self.value:
            self.best, self.value = len(self.asked) - 1, one.result.rank

    @property
    def genotype(self) -> Genotype:
        """The best one."""
        return self.asked[self.best].genotype

    def front(self, cost: str) -> list[int]:
        """Which queries no other one beats both in value and in a cost: the Pareto front.

        Args:
            cost (str): Which of the costs.

        Returns:
            list[int]: Their places among all, from 0, of rising cost and value: the first of those
            that are equal in both, and none whose value is not finite.

        Raises:
            UserError: There is no such cost.
        """
        values = self.evaluator.settle([one.result for one in self.asked])
        costs = [one.result.cost(cost) for one in self.asked]
        found: list[int] = []
        for place in sorted(range(len(values)), key=lambda one: (costs[one], -values[one], one)):
            if values[place] > (values[found[-1]] if found else -math.inf):
                found.append(place)
        return found
