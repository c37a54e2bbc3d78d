"""What a search asked: the rows of its queries, and what was the best after each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rdarts.configuration.phases import Phase
from rdarts.errors import UserError
from rdarts.results.phases import asks, call
from rdarts.results.row import TIME_LIMIT, is_count, number

QUERY = 'query'  # the kind of a row that says what was asked and answered
FRONT = 'front'  # the kind of a row that says which queries no other beats in value and cost
NOT_FINITE = ('nan', 'inf', '-inf')


@dataclass(frozen=True)
class Queries:
    """The queries of a search, or of the phase of it that asks.

    Args:
        rows (list[dict]): Its rows of kind ``query``, from the first on.
        config (dict): Of the search, or of its phase.
        front (dict, optional): Where a cost is a second goal, and the search has ended: ``cost``,
            its name, and ``queries``, those that no other beats in both. Defaults to None.
    """

    rows: Sequence[Mapping[str, Any]]
    config: Mapping[str, Any]
    front: Mapping[str, Any] | None = None

    @property
    def budget(self) -> int | None:
        """How many queries it has if nothing stops it; None where the config does not say."""
        budget = self.config.get('budget')
        return budget if is_count(budget) else None

    @property
    def phase(self) -> int | None:
        """The phase that asks, from 0; None of a search without phases."""
        return self.rows[0].get('phase') if self.rows else None

    @property
    def strategy(self) -> str:
        """What proposes, with its options."""
        return call(self.config.get('strategy'))

    @property
    def evaluator(self) -> str:
        """What answers, with its options: values of two searches are of a kind where it is one."""
        return call(self.config.get('evaluator'))

    @property
    def limits(self) -> str:
        """What genotypes may cost, such as ``macs=5e+06``; empty where there are no limits."""
        limits = self.config.get('limits')
        given = limits.items() if isinstance(limits, Mapping) else ()
        return ', '.join(f'{name}={limit!r}' for name, limit in given if limit is not None)

    @cached_property
    def improvements(self) -> list[tuple[int, Mapping[str, Any]]]:
        """The queries after which another genotype than before was the best, and its row."""
        found: list[tuple[int, Mapping[str, Any]]] = []
        best = None
        for row in self.rows:
            if row['best_query'] != best:
                best = row['best_query']
                found.append((row['query'], self.rows[best - 1]))
        return found

    @property
    def best(self) -> Mapping[str, Any]:
        """The row of the best genotype after the last query; there must be one."""
        return self.rows[self.rows[-1]['best_query'] - 1]

    def values(self) -> dict[int, float]:
        """Query -> value, of those that have a finite one."""
        return _numbers(self.rows, 'value')

    def best_values(self) -> dict[int, float]:
        """Query -> the best value up to then, of those after which there is a finite one."""
        return _numbers(self.rows, 'best')

    def not_finite(self) -> Counter[str]:
        """How many values are ``'nan'``, ``'inf'`` or ``'-inf'``."""
        return Counter(row['not_finite'] for row in self.rows if row['value'] is None)


def _numbers(rows: Sequence[Mapping[str, Any]], key: str) -> dict[int, float]:
    found = {row['query']: number(row, key) for row in rows}
    return {query: value for query, value in found.items() if value is not None}


def that_asks(config: Mapping[str, Any], phases: Sequence[Phase]) -> Mapping[str, Any] | None:
    """The config of the search that asks, which may be that of a phase; None where none asks.

    Args:
        config (dict): Of the whole search, as data.
        phases (Sequence[Phase]): Those of the config.
    """
    configs = [phase.cfg.to_dict() for phase in phases] or [config]
    return next((one for one in configs if asks(one)), None)


def check_queries(rows: Sequence[Mapping[str, Any]], where: str) -> None:
    """Rows of kind ``query`` hold what is shown of them, and follow each other from 1 on.

    Args:
        rows (Sequence[dict]): The rows.
        where (str): The file, for errors.

    Raises:
        UserError: One lacks something, or has something else in its place.
    """
    for place, row in enumerate(rows, 1):
        query, best, value = row.get('query'), row.get('best_query'), row.get('value')
        if not is_count(query) or query != place:
            raise UserError(f"{where}: 'query' must count from 1: {place} is missing")
        known = row.get('not_finite') in NOT_FINITE if value is None else 'not_finite' not in row
        fits = dict(
            genotype=isinstance(row.get('genotype'), str),
            value=value is None or number(row, 'value') is not None,
            not_finite=known,
            costs=_are_named_numbers(row.get('costs', {})),
            parts=_are_named_numbers(row.get('parts', {})),
            best=row.get('best') is None or number(row, 'best') is not None,
            best_query=is_count(best) and 1 <= best <= query,
            seconds=(number(row, 'seconds') or 0.0) >= 0,
            stopped='stopped' not in row or row['stopped'] == dict(by=TIME_LIMIT),
        )
        for key, fit in fits.items():
            if not fit:
                raise UserError(
                    f"{where}, query {query}: '{key}' is not what a search that asks logs"
                )


def check_front(row: Mapping[str, Any], answered: int, where: str) -> None:
    """A row of kind ``front`` names a cost, and queries that were answered.

    Args:
        row (dict): The row.
        answered (int): How many queries were.
        where (str): The file, for errors.

    Raises:
        UserError: It does not.
    """
    queries = row.get('queries')
    if not isinstance(row.get('cost'), str) or not (
        isinstance(queries, list) and all(is_count(q) and 1 <= q <= answered for q in queries)
    ):
        raise UserError(
            f"{where}: the row of kind {FRONT} must have 'cost', a name, and 'queries', numbers "
            f'from 1 to {answered}'
        )


def _are_named_numbers(value: Any) -> bool:
    """Whether it is numbers by name, of which one that is not finite is written as its name."""
    return isinstance(value, Mapping) and all(
        one in NOT_FINITE or number(value, name) is not None for name, one in value.items()
    )
