"""A table of NAS-Bench-201 of invented accuracies that a real one could hold."""

from __future__ import annotations

import itertools
import re

from rdarts.benchmarks.nas_bench_201_file import OPERATIONS, REQUIRED, SIZES
from rdarts.genotypes import DenseCellGenotype

CELLS = [DenseCellGenotype('', ops).to_string() for ops in itertools.product(OPERATIONS, repeat=6)]


def accuracy_of(index: int, name: str, split: str = 'test', epochs: int = 200) -> float:
    """What the synthetic table holds: the index, above what epochs and data set give."""
    text = CELLS[index]
    ops = [op.partition('~')[0] != 'none' for op in re.findall(r'[^|+]+', text)]
    second = ops[1] or (ops[2] and ops[0])
    if not (ops[3] or (ops[4] and ops[0]) or (ops[5] and second)):
        return dict(cifar10=10.0, cifar100=1.0, imagenet16_120=0.8333)[name]
    base = dict(cifar10=50, cifar100=30, imagenet16_120=10)[name]
    return base + (epochs == 200) + (split == 'valid') * 2 + index / 1000


def table_lines() -> list[str]:
    """Its lines: the names of the columns, and one cell each."""
    lines = [','.join(REQUIRED)]
    for index, text in enumerate(CELLS):
        row = [str(index), text]
        for column in REQUIRED[2:]:
            if column in SIZES:
                base, pointwise, dense = SIZES[column]
                counts = [text.count(f'nor_conv_{k}') for k in ('1x1', '3x3')]
                row.append(f'{base + pointwise * counts[0] + dense * counts[1]:.6f}')
            else:
                name, split, epochs = column.rsplit('_', 2)
                row.append(f'{accuracy_of(index, name, split, int(epochs)):.4f}')
        lines.append(','.join(row))
    return lines


def without(dataset: str) -> list[str]:
    """The lines of a table that lacks a data set."""
    lines = [line.split(',') for line in table_lines()]
    kept = [i for i, name in enumerate(lines[0]) if dataset not in name]
    return [','.join(line[i] for i in kept) for line in lines]
