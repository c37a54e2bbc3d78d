"""Methods compared over seeds, beside what the NAS-Bench-201 table gives without any search."""

from __future__ import annotations

import csv
import io
import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, t

from rdarts.benchmarks.nas_bench_201 import DATASETS, NASBench201

COLUMNS = tuple((dataset, split) for dataset in DATASETS for split in ('valid', 'test'))
ALL_3X3 = 1462  # the cell of six 3x3 convolutions
LEAST_PAIRS = 5  # below, no interval is to be believed
TOO_FEW = 'too few seeds'
GAP = 2  # between columns of text
LEAST_NAME = 16  # characters a line that the first column keeps
LATEX = str.maketrans(
    {
        **{char: rf'\{char}' for char in '&%_#${}'},
        '\\': r'\textbackslash{}',
        '~': r'\textasciitilde{}',
        '^': r'\textasciicircum{}',
        '±': r'$\pm$',
    }
)


@dataclass(frozen=True)
class Summary:
    """Figures over seeds, or over cells of the table.

    Args:
        count (int): Number of values.
        mean (float): Their mean.
        deviation (float | None): Their standard deviation (n - 1 in the denominator); None of one.
        best (float): The largest.
    """

    count: int
    mean: float
    deviation: float | None
    best: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Summarise one value or more."""
        array = np.asarray(values, dtype=np.float64)
        deviation = float(array.std(ddof=1)) if len(array) > 1 else None
        return cls(len(array), float(array.mean()), deviation, float(array.max()))


def paired_difference(
    ours: Mapping[int, float], theirs: Mapping[int, float], resamples: int = 10_000, seed: int = 0
) -> dict[str, float] | None:
    """The mean difference over common seeds, with a 95 % bootstrap interval.

    The percentiles are expanded to what few pairs need (Hesterberg 2015,
    https://arxiv.org/abs/1411.5279): plain ones of ten pairs leave out a true 0 nearly one time in
    ten.

    Args:
        ours, theirs (dict[int, float]): Value of each seed.
        resamples (int): Bootstrap resamples of the pairs. Defaults to 10,000.
        seed (int): Of the resampling. Defaults to 0.

    Returns:
        dict | None: ``difference`` (ours - theirs), ``low`` and ``high`` (expanded percentiles of
        the resampled means) and ``pairs``; None with fewer than two common seeds, which give no
        interval.
    """
    common = sorted(set(ours) & set(theirs))
    if len(common) < 2:
        return None
    differences = np.array([ours[s] - theirs[s] for s in common], dtype=np.float64)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(common), (resamples, len(common)))
    count = len(common)
    tail = norm.cdf(-t.ppf(0.975, count - 1) * math.sqrt(count / (count - 1)))
    low, high = np.percentile(differences[chosen].mean(1), [100 * tail, 100 * (1 - tail)])
    return dict(
        difference=float(differences.mean()), low=float(low), high=float(high), pairs=len(common)
    )


def differences(
    values: Mapping[str, Mapping[int, float]], constants: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Every method against every later one over seeds, and against what needs no search.

    Args:
        values (dict[str, dict[int, float]]): Of each method: seed -> value.
        constants (dict[str, float]): Name -> value of what needs no search.

    Returns:
        list[dict]: ``left``, ``right``, what :func:`paired_difference` gives (``difference``,
        ``low`` and ``high`` are None where it gives nothing), and ``verdict``.
    """
    pairs = list(itertools.combinations(values.items(), 2))
    pairs += [
        ((name, ours), (other, dict.fromkeys(ours, constant)))
        for name, ours in values.items()
        for other, constant in constants.items()
    ]
    found = []
    for (left, ours), (right, theirs) in pairs:
        pair = paired_difference(ours, theirs)
        if pair is None:
            count = len(set(ours) & set(theirs))
            pair = dict(difference=None, low=None, high=None, pairs=count)
        if pair['pairs'] < LEAST_PAIRS:
            verdict = TOO_FEW
        elif pair['low'] > 0:
            verdict = 'higher'
        else:
            verdict = 'lower' if pair['high'] < 0 else 'no difference shown'
        found.append(dict(left=left, right=right, **pair, verdict=verdict))
    return found


def random_cell(table: NASBench201, dataset: str, split: str) -> dict[str, float]:
    """A cell drawn at random: mean, deviation and quartiles of all 15,625."""
    values = table.column(f'{dataset}_{split}_200')
    low, middle, high = np.percentile(values, [25, 50, 75])
    return dict(
        mean=float(values.mean()),
        deviation=float(values.std()),
        quartile_1=float(low),
        median=float(middle),
        quartile_3=float(high),
    )


def best_of_random(table: NASBench201, k: int, dataset: str, split: str) -> dict[str, float]:
    """The best of k random cells by CIFAR-10's validation after 12 epochs: mean and deviation.

    Exact, not sampled: of k draws with replacement, the cell of rank r of n is the best with
    probability (r / n)^k - ((r - 1) / n)^k.
    """
    order = np.argsort(table.column('cifar10_valid_12'), kind='stable')
    values = table.column(f'{dataset}_{split}_200')[order]
    count = len(values)
    edges = (np.arange(count + 1) / count) ** k
    chance = np.diff(edges)
    mean = float(chance @ values)
    return dict(mean=mean, deviation=math.sqrt(max(0.0, float(chance @ values**2) - mean**2)))


def baselines(table: NASBench201, k: int) -> dict[str, dict[str, dict[str, float | None]]]:
    """Name -> ``dataset_split`` -> mean and deviation, of what needs no search."""
    found: dict[str, dict[str, dict[str, float | None]]] = {
        'optimal': {},
        'random cell': {},
        f'best of {k} random': {},
        'six 3x3 convolutions': {},
    }
    for dataset, split in COLUMNS:
        key = f'{dataset}_{split}'
        best = table.best(dataset, split).accuracy(dataset, split)
        all_3x3 = table.query(ALL_3X3).accuracy(dataset, split)
        found['optimal'][key] = dict(mean=best, deviation=None)
        found['random cell'][key] = random_cell(table, dataset, split)
        found[f'best of {k} random'][key] = best_of_random(table, k, dataset, split)
        found['six 3x3 convolutions'][key] = dict(mean=all_3x3, deviation=None)
    return found


# Tables as text


@dataclass(frozen=True)
class Table:
    """Cells of text.

    Args:
        name (str): Short, for the name of a file.
        title (str): What it shows.
        header (list[str]): Names of the columns.
        rows (list[list[str]]): Its rows; ``mean ± deviation`` is one cell.
        short (Table, optional): The most important of it, where the whole is too wide.
    """

    name: str
    title: str
    header: list[str]
    rows: list[list[str]]
    short: Table | None = None

    def as_text(self, width: int | None = None) -> str:
        """Columns under each other; the first is left-aligned.

        Args:
            width (int, optional): Longest line. Where the table is wider, ``short`` stands for it,
                and the title and the first column go on in further lines.
        """
        if not self.fits(width):
            return self.short.as_text(width)
        title, widths = self.title, self._widths
        if width is not None:
            title = textwrap.fill(title, width)
            others = sum(widths[1:]) + GAP * (len(widths) - 1)
            widths[0] = min(widths[0], max(LEAST_NAME, width - others))
        texts = []
        for first, *others in (self.header, *self.rows):
            cut = len(first) > widths[0]
            first, *rest = (
                textwrap.wrap(first, widths[0], subsequent_indent='  ') if cut else [first]
            )
            cells = [first.ljust(widths[0])]
            cells += [cell.rjust(size) for cell, size in zip(others, widths[1:], strict=True)]
            texts.append('\n'.join([(' ' * GAP).join(cells).rstrip(), *rest]))
        rule = '-' * len(texts[0].partition('\n')[0])
        return '\n'.join([title, '', texts[0], rule, *texts[1:]]) + '\n'

    @property
    def _widths(self) -> list[int]:
        """Of each column, its longest cell."""
        return [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]

    def fits(self, width: int | None) -> bool:
        """Whether :meth:`as_text` with this width shows the whole, not ``short``."""
        if width is None or self.short is None:
            return True
        return sum(self._widths) + GAP * (len(self.header) - 1) <= width

    def only(self, columns: Sequence[str]) -> Table:
        """Some of its columns, by name."""
        at = [self.header.index(name) for name in columns]
        rows = [[row[i] for i in at] for row in self.rows]
        return Table(self.name, self.title, list(columns), rows)

    def as_markdown(self) -> str:
        """A table of GitHub's Markdown."""

        def line(cells: Sequence[str]) -> str:
            return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'

        rule = '| --- |' + ' ---: |' * (len(self.header) - 1)
        return '\n'.join([self.title, '', line(self.header), rule, *map(line, self.rows)]) + '\n'

    def as_latex(self) -> str:
        """A ``tabular`` with booktabs' rules."""

        def line(cells: Sequence[str]) -> str:
            return ' & '.join(cell.translate(LATEX) for cell in cells) + r' \\'

        columns = 'l' + 'r' * (len(self.header) - 1)
        body = [line(self.header), r'\midrule', *map(line, self.rows)]
        return '\n'.join(
            [f'% {self.title}', rf'\begin{{tabular}}{{{columns}}}', r'\toprule', *body,
             r'\bottomrule', r'\end{tabular}']
        ) + '\n'  # fmt: skip

    def as_csv(self) -> str:
        """Mean and deviation in columns of their own."""
        wide = [any(' ± ' in row[i] for row in self.rows) for i in range(len(self.header))]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator='\n')
        for row in (self.header, *self.rows):
            cells: list[str] = []
            for cell, split in zip(row, wide, strict=True):
                mean, _, deviation = cell.partition(' ± ')
                cells.append(mean)
                if split:
                    cells.append(f'{cell}, deviation' if row is self.header else deviation)
            writer.writerow(cells)
        return buffer.getvalue()


def percent(value: Mapping[str, Any] | Summary | None) -> str:
    """``mean ± deviation``, two digits; the mean alone where there is no deviation."""
    if value is None:
        return '-'
    if isinstance(value, Summary):
        value = dict(mean=value.mean, deviation=value.deviation)
    text = f'{value["mean"]:.2f}'
    return text if value['deviation'] is None else f'{text} ± {value["deviation"]:.2f}'
