"""What a search is worth: how far local search and counting come for the same price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rdarts.benchmarks import NASBench201
from rdarts.benchmarks.nas_bench_201 import Record, column_name
from rdarts.registry import STRATEGIES, build
from rdarts.sampling.result import Result
from rdarts.search_spaces import build_space
from rdarts.study.figures import Figures
from rdarts.study.statistics import Summary
from rdarts.study.tables import note_of

SPACE, DATASET = 'nas_bench_201', 'cifar10'
SEARCHES, QUERIES = 20, 500  # of local search
SAME_ACCURACY = 'local search for the same (queries)'
SAME_TIME = 'local search in the same time (%)'
COUNTING = 'counting FLOPs in the same time (%)'


@dataclass(frozen=True)
class Price:
    """What local search reaches on the table, mean over some seeds.

    It decides by CIFAR-10's validation accuracy after 200 epochs, and is measured by the test
    accuracy of its best cell. A query is the training of a cell: the table has no time of it.

    Args:
        table (NASBench201): The table.
        query_seconds (float, optional): How long one training takes. Without it, nothing is said of
            equal time. Defaults to None.
    """

    table: NASBench201
    query_seconds: float | None = None

    @cached_property
    def reached(self) -> np.ndarray:
        """Mean test accuracy (%) of the best cell after 1, 2, ... queries, [QUERIES]."""
        told = self.table.column(column_name(DATASET, 'valid', 200))
        tests = self.table.column(column_name(DATASET, 'test', 200))
        space = build_space(SPACE)
        found = np.empty((SEARCHES, QUERIES))
        for seed in range(SEARCHES):
            strategy = build(dict(type='LocalSearch'), STRATEGIES)
            strategy.prepare(space, np.random.default_rng(seed))
            best = None
            for query in range(QUERIES):
                genotype = strategy.ask()
                index = self.table.index_of(genotype.to_string())
                strategy.tell(genotype, Result(float(told[index])))
                if best is None or told[index] > told[best]:
                    best = index
                found[seed, query] = tests[best]
        return found.mean(0)

    @property
    def columns(self) -> list[str]:
        """Names of the columns of :meth:`cells`."""
        return [SAME_ACCURACY, *([SAME_TIME] if self.query_seconds else []), COUNTING]

    def cells(self, found: Mapping[int, Figures]) -> list[str]:
        """Of a method: the queries that local search needs for its accuracy, and what it and
        counting FLOPs reach in its time.

        What a search has read in the table (``trainings``) counts as the time of so many queries.

        Args:
            found (dict[int, Figures]): Of each seed.

        Returns:
            list[str]: One for each of :attr:`columns`.
        """
        tests = [v[f'{DATASET}_test'] for v in found.values() if f'{DATASET}_test' in v]
        cells = [self._queries(Summary.of(tests).mean) if tests else '-']
        if self.query_seconds:
            seconds = [
                v['seconds'] + v.get('trainings', 0) * self.query_seconds
                for v in found.values()
                if v.get('seconds') is not None
            ]
            cells.append(self._in_time(Summary.of(seconds).mean) if seconds else '-')
        return [*cells, f'{self.most_flops.accuracy(DATASET):.2f}' if tests else '-']

    @cached_property
    def most_flops(self) -> Record:
        """The cell that has most FLOPs, which takes no training to find."""
        return self.table.query(int(np.argmax(self.table.column(f'flops_m_{DATASET}'))))

    def _queries(self, accuracy: float) -> str:
        enough = np.flatnonzero(self.reached >= accuracy)
        return f'{enough[0] + 1}' if len(enough) else f'> {QUERIES}'

    def _in_time(self, seconds: float) -> str:
        # of whole queries, rounding takes none away
        queries = int(seconds / self.query_seconds * (1 + 1e-12))
        if not queries:
            return 'no query'
        text = f'{self.reached[min(queries, QUERIES) - 1]:.2f}'
        return text if queries <= QUERIES else f'{text} ({QUERIES} queries)'

    @property
    def note(self) -> str:
        """What the columns mean, and what counting FLOPs gives."""
        time = (
            f'taken as {self.query_seconds:g} s, also of those that a search has read in the table'
            if self.query_seconds
            else 'with --query-seconds S, the time of one, equal times are compared, too'
        )
        return note_of(
            [
                'Local search: test accuracy on CIFAR-10 of its best cell, mean of '
                f'{SEARCHES} searches of {QUERIES} queries. A query is the training of a cell, '
                f'{time}.',
                *(
                    [f'({QUERIES} queries): the time is that of more, which were not asked.']
                    if self.query_seconds
                    else []
                ),
                'Counting FLOPs needs no training, so that it is done in the time of any search: '
                f'the cell that has most is {self.most_flops.index}, with '
                f'{self.most_flops.accuracy(DATASET):.2f} % on CIFAR-10.',
            ]
        )
