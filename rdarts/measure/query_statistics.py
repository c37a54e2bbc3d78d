"""What strategies reach on a benchmark's table within a number of queries, over seeds."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from rdarts.benchmarks import NASBench201
from rdarts.benchmarks.nas_bench_201 import column_name
from rdarts.configuration.option_values import read_value
from rdarts.errors import UserError
from rdarts.registry import STRATEGIES, build
from rdarts.sampling.evaluators import Table as Accuracies
from rdarts.search_spaces import build_space
from rdarts.study.statistics import Summary
from rdarts.study.tables import Table, percent
from rdarts.utils.files import check_output, read_text, write_atomically

SPACE = 'nas_bench_201'
LARGEST = 2**28  # bytes of a file of runs
SAVE_SECONDS = 5.0  # between two times that it is written


@dataclass(frozen=True)
class Criterion:
    """By which accuracy cells are searched.

    Args:
        dataset (str): The data set. Defaults to ``'cifar10'``.
        epochs (int): Of the validation accuracy. Defaults to 200.
    """

    dataset: str = 'cifar10'
    epochs: int = 200

    @property
    def column(self) -> str:
        """Of the table."""
        return column_name(self.dataset, 'valid', self.epochs)


@dataclass(frozen=True)
class Run:
    """One search.

    Args:
        strategy (str): As it was asked for.
        criterion (str): The column of the table by which cells are searched.
        seed (int): The seed.
        queries (int): How many there were.
        seconds (float): Of the processor, for all of them.
        climbs (tuple[tuple[int, int], ...]): For each cell that was better than all before, the
            query, from 1, and the cell's index.
    """

    strategy: str
    criterion: str
    seed: int
    queries: int
    seconds: float
    climbs: tuple[tuple[int, int], ...]

    def best(self, budget: int) -> int:
        """The index of the best cell of the first queries; of equal ones the first."""
        return [cell for query, cell in self.climbs if query <= budget][-1]

    def to_row(self) -> dict[str, Any]:
        """As a row of text."""
        climbs = ' '.join(f'{query}:{cell}' for query, cell in self.climbs)
        return dict(asdict(self), seconds=f'{self.seconds:.4f}', climbs=climbs)

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> Run:
        """Inverse of :meth:`to_row`.

        Raises:
            ValueError: It is none.
            KeyError: A column is missing.
        """
        pairs = (climb.partition(':') for climb in row['climbs'].split())
        return cls(
            row['strategy'],
            row['criterion'],
            int(row['seed']),
            int(row['queries']),
            float(row['seconds']),
            tuple((int(query), int(cell)) for query, _, cell in pairs),
        )


NAMES = [one.name for one in fields(Run)]


def strategy_config(text: str) -> dict[str, Any]:
    """The config of a strategy: its name, with arguments in brackets if any.

    Args:
        text (str): Such as ``LocalSearch`` or ``RegularizedEvolution(population=10, sample=3)``.

    Raises:
        UserError: It cannot be read.
    """
    name, bracket, rest = text.strip().partition('(')
    if not bracket:
        return dict(type=name)
    try:
        return dict(read_value(f'dict({rest}'), type=name)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"cannot read '{text}': a strategy is its name, with arguments in brackets as in "
            f'RegularizedEvolution(population=10, sample=3): {error}'
        ) from None


def evaluator_of(criterion: Criterion) -> Accuracies:
    """What answers with an accuracy of the table.

    Raises:
        UserError: There is no table, or it has no such accuracy.
    """
    evaluator = Accuracies(criterion.dataset, 'valid', criterion.epochs)
    evaluator.prepare(build_space(SPACE), seed=0)
    return evaluator


def search(
    strategy: str, criterion: Criterion, seed: int, queries: int, evaluator: Accuracies
) -> Run:
    """One search on the table.

    Args:
        strategy (str): As :func:`strategy_config` takes it.
        criterion (Criterion): The accuracy that it is told.
        seed (int): Of all that it draws.
        queries (int): The budget.
        evaluator (Table): That of the criterion, see :func:`evaluator_of`.

    Raises:
        UserError: There is no such strategy.
    """
    climbs: list[tuple[int, int]] = []
    best = -np.inf
    asks = build(strategy_config(strategy), STRATEGIES)
    start = time.process_time()
    asks.prepare(evaluator.space, np.random.default_rng(seed))
    for query in range(1, queries + 1):
        genotype = asks.ask()
        result = evaluator(genotype)
        asks.tell(genotype, result)
        if result.rank > best:
            best = result.rank
            climbs.append((query, evaluator.table.index_of(genotype.to_string())))
    seconds = time.process_time() - start
    return Run(strategy, criterion.column, seed, queries, seconds, tuple(climbs))


def read_runs(path: Path) -> list[Run]:
    """The runs of a file; none where there is no file.

    Raises:
        UserError: It is no such file; the line says where.
    """
    try:
        text = read_text(path, LARGEST, 'the runs')
    except FileNotFoundError:
        return []
    found = []
    rows = csv.DictReader(io.StringIO(text))
    for line, row in enumerate(rows, 2):
        try:
            found.append(Run.from_row(row))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(
                f'{path}, line {line}: no run of this tool, whose columns are {", ".join(NAMES)}'
            ) from None
    return found


def write_runs(path: Path, runs: Sequence[Run]) -> None:
    """All runs, one a line."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, NAMES, lineterminator='\n')
    writer.writeheader()
    writer.writerows(run.to_row() for run in runs)
    write_atomically(path, buffer.getvalue().encode())


def measure(
    strategies: Sequence[str],
    criterion: Criterion,
    seeds: Sequence[int],
    queries: int,
    path: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Run]:
    """A search of each strategy with each seed, those aside that a file has.

    Args:
        strategies (Sequence[str]): As :func:`strategy_config` takes them.
        criterion (Criterion): The accuracy that they are told.
        seeds (Sequence[int]): Their seeds.
        queries (int): The budget of each.
        path (Path, optional): The file, which is written anew every few seconds, and at the end.
            One program at a time may write it. Defaults to none.
        say (Callable): Takes a line after each search. Defaults to nothing.

    Returns:
        list[Run]: One a strategy and seed.

    Raises:
        UserError: There is no table or no such strategy, or the file is none of this tool.
    """
    for strategy in strategies:  # a mistake in the last is told before the first takes its time
        build(strategy_config(strategy), STRATEGIES)
    known = read_runs(check_output(path)) if path is not None else []
    evaluator = evaluator_of(criterion)
    found, written = [], time.monotonic()
    try:
        for strategy in strategies:
            for seed in seeds:
                run = _known(known, strategy, criterion, seed, queries)
                if run is None:
                    run = search(strategy, criterion, seed, queries, evaluator)
                    known.append(run)
                    say(f'{strategy}, seed {seed}: {run.seconds:.1f} s')
                    if path is not None and time.monotonic() - written > SAVE_SECONDS:
                        write_runs(path, known)
                        written = time.monotonic()
                found.append(run)
    finally:
        if path is not None:
            write_runs(path, known)
    return found


def _known(
    runs: Sequence[Run], strategy: str, criterion: Criterion, seed: int, queries: int
) -> Run | None:
    """One that was as long or longer."""
    wanted = (strategy, criterion.column, seed)
    return next(
        (
            run
            for run in runs
            if (run.strategy, run.criterion, run.seed) == wanted and run.queries >= queries
        ),
        None,
    )


def summarise(table: NASBench201, runs: Sequence[Run], budgets: Sequence[int]) -> Table:
    """Means and deviations over seeds, a row a strategy and budget.

    Args:
        table (NASBench201): Where the accuracies are.
        runs (Sequence[Run]): Of one criterion, each at least as long as the largest budget.
        budgets (Sequence[int]): After how many queries.

    Returns:
        Table: The test accuracies of the best cell by the criterion on each data set, the
        criterion, in how many of 100 searches the optimum was found, the mean number of queries
        until then (a search that did not find it counts with all its queries, after ``>``), and
        queries a second of processor time.
    """
    criterion = runs[0].criterion
    values = table.column(criterion)
    header = ['strategy', 'queries', *table.datasets, criterion]
    header += ['optimum in %', 'optimum after', '1 / s']
    columns = [*(column_name(name, 'test', 200) for name in table.datasets), criterion]
    rows = []
    for strategy in dict.fromkeys(run.strategy for run in runs):
        own = [run for run in runs if run.strategy == strategy]
        speed = sum(run.queries for run in own) / max(sum(run.seconds for run in own), 1e-9)
        for budget in budgets:
            best = np.array([run.best(budget) for run in own])
            hits = [_query_of_optimum(run, values, budget) for run in own]
            missed = hits.count(None)
            after = np.mean([budget if hit is None else hit for hit in hits])
            rows.append(
                [
                    strategy,
                    str(budget),
                    *(percent(Summary.of(table.column(name)[best])) for name in columns),
                    f'{100 * (1 - missed / len(own)):.0f}',
                    f'{">" if missed else ""}{after:.0f}',
                    f'{speed:.0f}' if speed >= 10 else f'{speed:.2g}',
                ]
            )
    title = (
        f'Test accuracy (%) after 200 epochs of the best cell by {criterion}, mean ± deviation '
        f'over {len({run.seed for run in runs})} seeds'
    )
    return Table('queries', title, header, rows)


def _query_of_optimum(run: Run, values: np.ndarray, budget: int) -> int | None:
    best = values.max()
    return next(
        (query for query, cell in run.climbs if values[cell] == best and query <= budget), None
    )
