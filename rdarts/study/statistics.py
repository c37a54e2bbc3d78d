"""Methods compared over seeds, beside what the NAS-Bench-201 table gives without any search."""

from __future__ import annotations

import itertools
import math
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
    """Name -> ``dataset_split`` -> mean and deviation, of what needs no search.

    Data sets that the table lacks have none.
    """
    found: dict[str, dict[str, dict[str, float | None]]] = {
        'optimal': {},
        'random cell': {},
        f'best of {k} random': {},
        'six 3x3 convolutions': {},
    }
    for dataset, split in COLUMNS:
        if dataset not in table.datasets:
            continue
        key = f'{dataset}_{split}'
        best = table.best(dataset, split).accuracy(dataset, split)
        all_3x3 = table.query(ALL_3X3).accuracy(dataset, split)
        found['optimal'][key] = dict(mean=best, deviation=None)
        found['random cell'][key] = random_cell(table, dataset, split)
        found[f'best of {k} random'][key] = best_of_random(table, k, dataset, split)
        found['six 3x3 convolutions'][key] = dict(mean=all_3x3, deviation=None)
    return found
