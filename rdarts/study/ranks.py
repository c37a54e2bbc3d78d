"""Methods ranked over seeds and data sets, and which ranks can be told apart."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from rdarts.study.statistics import LEAST_PAIRS, TOO_FEW
from rdarts.study.tables import Table, note_of
from rdarts.utils.wording import plural

LEVEL = 0.05
Results = Mapping[str, Mapping[Hashable, Sequence[float]]]
"""Method -> search (a seed, of a space and data set) -> what it reached, one value a data set."""


@dataclass(frozen=True)
class Ranks:
    """Ranks of methods, each by the same searches.

    Several data sets on which one found cell was measured are no searches of their own. The mean of
    their ranks orders the methods of a search, and it is the ranks in this order, one a search and
    method, of which means are shown and compared.

    Args:
        methods (list[str]): The methods, the best mean rank first.
        columns (list[str]): Names of the data sets.
        ranks (ndarray): [searches, data sets, methods]; 1 is the best, equal ones share their mean.
        left_out (list[str]): Methods that have too few of the searches.
    """

    methods: list[str]
    columns: list[str]
    ranks: np.ndarray
    left_out: list[str]

    @classmethod
    def of(cls, results: Results, columns: Sequence[str], largest_first: bool) -> Ranks | None:
        """Rank the methods that have the same searches.

        Those methods and searches enter with which there are most results. (They are looked for by
        adding to each method, one after the other, the one that has most searches in common with
        those before it: the largest number over all choices is not guaranteed.)

        Args:
            results (Results): What was reached.
            columns (Sequence[str]): Names of the data sets.
            largest_first (bool): Whether the largest value is the best, as of accuracies.

        Returns:
            Ranks | None: None where no two methods have a search in common.
        """
        methods, searches = _in_common(results)
        if not searches:
            return None
        values = np.array([[results[m][s] for m in methods] for s in searches], dtype=np.float64)
        values = values.transpose(0, 2, 1)
        ranks = rankdata(-values if largest_first else values, axis=-1)
        order = np.argsort(_of_searches(ranks).mean(0), kind='stable')
        left_out = [method for method in results if method not in methods]
        return cls([methods[i] for i in order], list(columns), ranks[..., order], left_out)

    @property
    def count(self) -> int:
        """How many searches each method has."""
        return len(self.ranks)

    @property
    def means(self) -> np.ndarray:
        """Mean rank of each method, [methods], ascending."""
        return self.of_searches.mean(0)

    @cached_property
    def of_searches(self) -> np.ndarray:
        """Rank of each method by each search, [searches, methods]."""
        return _of_searches(self.ranks)

    @property
    def critical_difference(self) -> float | None:
        """By how much mean ranks of two methods must differ (Nemenyi, level 0.05).

        None of fewer than five searches, by which nothing can be said.
        """
        if self.count < LEAST_PAIRS:
            return None
        methods = len(self.methods)
        quantile = studentized_range.ppf(1 - LEVEL, methods, math.inf) / math.sqrt(2)
        return float(quantile * math.sqrt(methods * (methods + 1) / (6 * self.count)))

    @cached_property
    def friedman(self) -> float | None:
        """Probability of such ranks where all methods are alike; None of two methods, of fewer than
        five searches, or where all are equal.
        """
        if len(self.methods) < 3 or self.count < LEAST_PAIRS:
            return None
        with np.errstate(invalid='ignore'):  # 0 / 0 where all are equal
            probability = float(friedmanchisquare(*self.of_searches.T).pvalue)
        return probability if math.isfinite(probability) else None

    @property
    def groups(self) -> list[tuple[int, int]]:
        """First and last method of each longest run of methods that cannot be told apart."""
        apart, means = self.critical_difference, self.means
        if apart is None:
            return []
        ends = [int(np.flatnonzero(means - means[i] <= apart)[-1]) for i in range(len(means))]
        return [
            (first, last)
            for first, last in enumerate(ends)
            if last > first and (first == 0 or last > ends[first - 1])
        ]

    def as_data(self) -> dict[str, Any]:
        """As JSON data."""
        return dict(
            methods=self.methods,
            mean_rank=self.means.tolist(),
            by_data_set=dict(zip(self.columns, self.ranks.mean(0).tolist(), strict=True)),
            searches=self.count,
            critical_difference=self.critical_difference,
            friedman_p=self.friedman,
            groups=[list(group) for group in self.groups],
            left_out=self.left_out,
        )

    @property
    def table(self) -> Table:
        """A row for each method, the best first."""
        several = len(self.columns) > 1
        header = ['method, by rank', 'mean rank', *(self.columns if several else []), 'searches']
        by_column = self.ranks.mean(0)
        rows = [
            [
                name,
                f'{mean:.2f}',
                *(f'{rank:.2f}' for rank in (by_column[:, i] if several else [])),
                str(self.count),
            ]
            for i, (name, mean) in enumerate(zip(self.methods, self.means, strict=True))
        ]
        title = f'Mean rank over {plural(self.count, "search")}'
        title += f' and {len(self.columns)} data sets each' if several else ''
        return Table('ranks', f'{title} (1 is the best)', header, rows)

    @property
    def note(self) -> str:
        """Which differences of mean ranks mean something."""
        lines = []
        apart = self.critical_difference
        if apart is None:
            lines.append(
                f'Ranks by {plural(self.count, "search")} say nothing of the next one ({TOO_FEW}: '
                f'methods are told apart by {LEAST_PAIRS} or more).'
            )
        else:
            lines.append(
                f'Mean ranks that differ by less than {apart:.2f} cannot be told apart (Nemenyi, '
                f'5 %, {plural(self.count, "search")}).'
            )
        if self.friedman is not None:
            lines.append(
                f'Were all methods alike, such ranks had p = {self.friedman:.2g} (Friedman).'
            )
        if self.left_out:
            lines.append(f'Not ranked, with other searches: {", ".join(self.left_out)}.')
        return note_of(lines)


def _of_searches(ranks: np.ndarray) -> np.ndarray:
    """[searches, data sets, methods] -> [searches, methods]: the ranks of the mean ranks.

    The sums are whole or half numbers, so that equal means are equal in floating point, too.
    """
    return rankdata(ranks.sum(1), axis=-1)


def _in_common(results: Results) -> tuple[list[str], list[Hashable]]:
    """Methods, and the searches that all of them have, with which there are most results.

    Of as many results, those of more searches.
    """
    sets = {method: frozenset(found) for method, found in results.items()}
    best: tuple[int, int] = (0, 0)
    chosen: frozenset[Hashable] = frozenset()
    for first in dict.fromkeys(sets.values()):
        common, left = first, list(sets.values())
        while common:
            having = sum(own >= common for own in sets.values())
            size = (having * len(common), len(common))
            if having > 1 and size > best:
                best, chosen = size, common
            left = [own for own in left if not own >= common]
            common = max((own & common for own in left), key=len, default=frozenset())
    methods = [method for method, own in sets.items() if chosen and own >= chosen]
    return methods, [s for s in results[methods[0]] if s in chosen] if methods else []
