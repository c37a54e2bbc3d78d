"""Scores of given or random cells, beside what the space's table holds of them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from rdarts.errors import UserError
from rdarts.genotypes import Genotype, form_named, load_genotype
from rdarts.registry import BENCHMARKS, lookup
from rdarts.sampling.scores.base import Score
from rdarts.sampling.scores.ranking import Ranking, ranks
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.study.result_tables import SHORT
from rdarts.study.score_file import ScoreFile
from rdarts.study.scoring import Scorer, Setting, find_scores, values_of
from rdarts.study.statistics import Summary
from rdarts.study.tables import Table, percent
from rdarts.utils.commands import shown_path
from rdarts.utils.wording import plural

DRAWS = 300_000  # so many in a row without another cell: there is none
SHOWN = 20  # cells whose scores are printed
SECONDS = 30  # between lines of progress


def read_cells(sources: Sequence[str], space: SearchSpace, table: Any) -> list[Genotype]:
    """Cells by what names them.

    Args:
        sources (Sequence[str]): See :func:`~rdarts.genotypes.load_genotype`; or their numbers in
            the space's table.
        space (SearchSpace): Their space.
        table (NASBench201 | None): Of the space.

    Raises:
        UserError: One cannot be read, or there is no table.
    """
    found = []
    for source in sources:
        if source.isdecimal():
            if table is None:
                raise UserError(
                    f"{source} is the number of a cell in a table, but the space '{space.name}' "
                    'has none, or it is not there: give the cell itself, or set RDARTS_DATA'
                )
            source = table.query(int(source)).arch_str
        found.append(load_genotype(source, space))
    return found


def draw_cells(space: SearchSpace, count: int, seed: int) -> list[Genotype]:
    """Different cells, uniformly.

    Args:
        space (SearchSpace): Their space.
        count (int): How many.
        seed (int): Of numpy's generator.

    Raises:
        UserError: The space has fewer.
    """
    generator, form = np.random.default_rng(seed), form_named(space.genotype)
    found: dict[str, Genotype] = {}
    last = drawn = 0
    while len(found) < count:
        genotype = form.random(space, generator)
        drawn += 1
        if found.setdefault(genotype.to_string(), genotype) is genotype:
            last = drawn
        elif drawn - last >= DRAWS:
            raise UserError(
                f"--random {count}: the space '{space.name}' has {len(found):,} different cells"
            )
    return list(found.values())


def find_table(space: SearchSpace) -> Any:
    """The table of a space; None where it has none, or it is not there."""
    return None if space.table is None else lookup(space.table, BENCHMARKS).find()


def correlations(values: Sequence[float], accuracies: Sequence[float]) -> tuple[float, float]:
    """Kendall's tau-b and Spearman's rho; what is not finite is ranked last, and equal.

    Args:
        values (Sequence[float]): Scores of cells.
        accuracies (Sequence[float]): Of the same cells.

    Returns:
        tuple[float, float]: NaN where all scores are equal.
    """
    places = ranks(values)
    if len(set(places)) < 2:
        return math.nan, math.nan
    return (
        float(kendalltau(places, accuracies).statistic),
        float(spearmanr(places, accuracies).statistic),
    )


def correlation_table(
    values: Mapping[str, Sequence[float]], accuracies: Mapping[str, Sequence[float]]
) -> Table:
    """A row a score: how many are not finite, and correlations with each data set's accuracy.

    Args:
        values (Mapping[str, Sequence[float]]): By score, of each cell.
        accuracies (Mapping[str, Sequence[float]]): By data set, of the same cells (%).
    """
    header = ['score', 'not finite']
    for dataset in accuracies:
        header += [f'{SHORT[dataset]} tau', f'{SHORT[dataset]} rho']
    rows = []
    for name, scores in values.items():
        found = [correlations(scores, column) for column in accuracies.values()]
        numbers = ['-' if math.isnan(one) else f'{one:.3f}' for pair in found for one in pair]
        rows.append([name, str(_not_finite(scores)), *numbers])
    count = plural(len(next(iter(accuracies.values()))), 'cell')
    title = f"Kendall's tau and Spearman's rho with the test accuracy of {count}"
    return Table('correlations', title, header, rows)


def best_table(
    names: Sequence[str],
    draws: Sequence[Mapping[str, Sequence[float]]],
    accuracies: Sequence[Mapping[str, Sequence[float]]],
) -> Table:
    """A row a score: the test accuracy of the cell that it places first.

    Args:
        names (Sequence[str]): Of the scores.
        draws (Sequence[Mapping[str, Sequence[float]]]): For each set of cells, values by score. Of
            equal ones the first counts.
        accuracies (Sequence[Mapping[str, Sequence[float]]]): Of the same, by data set.
    """
    rows = []
    for name in names:
        best = [int(np.argmax(ranks(values[name]))) for values in draws]
        reached = [
            percent(Summary.of([one[dataset][k] for one, k in zip(accuracies, best, strict=True)]))
            for dataset in accuracies[0]
        ]
        rows.append([name, *reached])
    title = f'Test accuracy of the cell placed first ({plural(len(draws), "draw")})'
    header = ['score', *(f'{SHORT[dataset]} test (%)' for dataset in accuracies[0])]
    return Table('best', title, header, rows)


def values_table(cells: Sequence[Genotype], values: Mapping[str, Sequence[float]]) -> Table:
    """A row a cell: its scores.

    Args:
        cells (Sequence[Genotype]): The cells.
        values (Mapping[str, Sequence[float]]): By score, of each.
    """
    rows = [
        [cell.to_string(), *(f'{column[k]:.6g}' for column in values.values())]
        for k, cell in enumerate(cells[:SHOWN])
    ]
    title = 'Scores'
    if len(cells) > SHOWN:
        title = f'Scores of the first {SHOWN} of {plural(len(cells), "cell")}'
    return Table('scores', title, ['cell', *values], rows)


def _not_finite(values: Sequence[float]) -> int:
    return sum(not math.isfinite(value) for value in values)


def score_cells(
    scores: Sequence[str],
    sources: Sequence[str] = (),
    random: int | None = None,
    seed: int = 0,
    draws: int = 1,
    space: str = 'nas_bench_201',
    out: str | os.PathLike | None = None,
    **setting: Any,
) -> list[Table]:
    """Score cells, and compare with the table where there is one.

    Args:
        scores (Sequence[str]): Names, see :func:`find_scores`.
        sources (Sequence[str]): Cells, see :func:`read_cells`. Defaults to none.
        random (int, optional): Or so many random ones. Defaults to none.
        seed (int): Of the draw. Defaults to 0.
        draws (int): Draws, of seeds from ``seed`` on. Defaults to 1.
        space (str): Of the cells. Defaults to ``'nas_bench_201'``.
        out (str | PathLike, optional): The CSV, see :class:`ScoreFile`. Defaults to none.
        **setting: Of :class:`Setting`.

    Returns:
        list[Table]: Scores of cells; where there is a table, correlations over all cells and the
        accuracies of those that are placed first, too.

    Raises:
        UserError: Something does not fit.
    """
    if (random is None) is not bool(sources):
        raise UserError('give cells, or --random K, and not both')
    for name, value, least in (('random', random, 1), ('draws', draws, 1), ('seed', seed, 0)):
        if value is not None and value < least:
            raise UserError(f'--{name} must be {least} or more, but is {value}')
    if sources and draws > 1:
        raise UserError('--draws are of --random K')
    space, found_scores = build_space(space), find_scores(scores)
    setting, table = Setting(space, **setting), find_table(space)
    if sources:
        sets = [read_cells(sources, space, table)]
    else:
        sets = [draw_cells(space, random, seed + k) for k in range(draws)]
    cells = list({cell.to_string(): cell for cells in sets for cell in cells}.values())
    file = ScoreFile(out, str(setting))
    file.check_columns(found_scores)
    score_all(cells, setting, found_scores, file)

    def values(of: Sequence[Genotype]) -> dict[str, list[float]]:
        return values_of(found_scores, [file[cell.to_string()] for cell in of])

    tables = [values_table(cells, values(cells))] if sources or table is None else []
    if table is None and space.table is not None:
        print(f"no table '{space.table}' is there to compare with: set RDARTS_DATA")
    if table is not None:
        reached = [accuracies_of(table, cells) for cells in sets]
        tables.append(correlation_table(values(cells), accuracies_of(table, cells)))
        tables.append(best_table(scores, [values(cells) for cells in sets], reached))
    return tables


def accuracies_of(table: Any, cells: Sequence[Genotype]) -> dict[str, list[float]]:
    """By data set, the test accuracies of cells (%)."""
    records = [table.query(cell) for cell in cells]
    return {name: [record.accuracy(name) for record in records] for name in table.datasets}


def score_all(
    cells: Sequence[Genotype],
    setting: Setting,
    scores: Mapping[str, Score | Ranking],
    file: ScoreFile,
) -> None:
    """Add the scores that a file does not have, and say how it goes on."""
    left = [cell for cell in cells if cell.to_string() not in file]
    if len(left) < len(cells):
        print(f'{plural(len(cells) - len(left), "cell")} of {len(cells):,} scored before')
    if not left:
        return
    scorer = Scorer(setting, scores)
    start = said = time.monotonic()
    for number, cell in enumerate(left, 1):
        file.add(cell.to_string(), scorer(cell))
        now = time.monotonic()
        if now - said >= SECONDS or number == len(left):
            said, each = now, (now - start) / number
            count = plural(len(left), 'cell')
            print(f'{number:,} of {count} scored, {each:.3g} s each', flush=True)
    if file.path is not None:
        print(f'saved in: {shown_path(file.path)}')
