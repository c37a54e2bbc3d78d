"""Reading and checking the files of NAS-Bench-201 (https://arxiv.org/abs/2001.00326)."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from rdarts.errors import UserError
from rdarts.utils.wording import plural

OPERATIONS = ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')
DATASETS = ('cifar10', 'cifar100', 'imagenet16_120')
SPLITS = ('test', 'valid')
EPOCHS = (12, 200)
NUM_CELLS = len(OPERATIONS) ** 6
TABLE_NAME = 'nasbench201.csv.gz'
LATENCY_NAME = 'nasbench201_latency.csv.gz'
_OPERATION = re.compile(r'(\w+)~')

# Millions of the network without 1x1 and 3x3 convolutions, and more for each of the two
SIZES = dict(
    params_m_cifar10=(0.073306, 0.028, 0.24304),
    flops_m_cifar10=(7.78305, 3.93216, 35.38944),
    flops_m_cifar100=(7.7889, 3.93216, 35.38944),
    flops_m_imagenet16_120=(1.9534, 0.98304, 8.84736),
)
CHANCE = dict(cifar10=10.0, cifar100=1.0, imagenet16_120=100 / 120)

REQUIRED = (
    'arch_index',
    'arch_str',
    *(f'{d}_{s}_{e}' for d in DATASETS for s in SPLITS for e in EPOCHS),
    'params_m_cifar10',
    *(f'flops_m_{d}' for d in DATASETS),
)
FURTHER = [tuple(name for name in REQUIRED if dataset in name) for dataset in DATASETS[1:]]
"""The columns of each data set that a table may lack."""


def datasets_of(names: Sequence[str]) -> tuple[str, ...]:
    """The data sets that a table has.

    Args:
        names (Sequence[str]): Its columns.
    """
    return tuple(dataset for dataset in DATASETS if f'{dataset}_{SPLITS[0]}_{EPOCHS[0]}' in names)


def read_table(
    path: Path, required: tuple[str, ...], groups: Sequence[tuple[str, ...]] = ()
) -> tuple[list[str], np.ndarray, list[str]]:
    """Read a table, packed or not.

    Args:
        path (Path): The file.
        required (tuple[str, ...]): Columns that it must have.
        groups (Sequence[tuple[str, ...]]): Of these, those that it may lack together. Defaults to
            none.

    Returns:
        tuple[list[str], ndarray, list[str]]: The numbers' names, the numbers [rows, columns less
        ``arch_str``], float64, and the column ``arch_str``.

    Raises:
        UserError: It is missing, damaged, lacks a column, or holds what is no finite number.
    """
    try:
        data = path.read_bytes()
        if path.suffix == '.gz':
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise UserError(
            f'NAS-Bench-201 table not found: {path} (put {TABLE_NAME} there, or set RDARTS_DATA)'
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise UserError(f'table {path} is cut off or no gzip file') from None
    except OSError as error:
        raise UserError(f'table {path} cannot be read: {error.strerror}') from None
    # utf-8-sig: spreadsheets write a byte order mark
    lines = data.decode('utf-8-sig', errors='replace').splitlines()
    del data
    while lines and not lines[-1].strip():
        lines.pop()
    header = lines[0].split(',') if lines else []
    if len(lines) < 2 or not header[0] or 'arch_index' not in header:
        raise UserError(
            f'table {path} is no NAS-Bench-201 table: its first line names no arch_index'
        )
    left_out = {name for group in groups if not set(group) & set(header) for name in group}
    missing = [name for name in required if name not in header and name not in left_out]
    if missing:
        raise UserError(
            f'table {path} lacks the column{"s"[: len(missing) > 1]} {", ".join(missing)}; '
            'docs/en/nas_bench_201.md lists the columns'
        )
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise UserError(f'table {path} has the column {repeated[0]!r} twice')
    text_column = header.index('arch_str') if 'arch_str' in header else None
    strings: list[str] = []
    numbers = np.empty((len(lines) - 1, len(header) - (text_column is not None)))
    for row, line in enumerate(lines[1:]):
        fields = line.split(',')
        if len(fields) != len(header):
            raise UserError(
                f'table {path}, line {row + 2}: {plural(len(fields), "field")} instead '
                f'of {len(header)} '
                '(is the file cut off?)'
            )
        if text_column is not None:
            strings.append(fields.pop(text_column))
        try:
            numbers[row] = fields
        except ValueError:
            numbers[row] = [_number_or_nan(text) for text in fields]
            break
    names = [name for name in header if name != 'arch_str']
    bad = np.argwhere(~np.isfinite(numbers[: row + 1]))
    if len(bad):
        row, column = bad[0]
        name = names[column]
        text = lines[row + 1].split(',')[header.index(name)]
        raise UserError(
            f'table {path}, line {row + 2}: {text!r} in the column {name!r} is no finite number'
        )
    return names, numbers, strings


def check_values(path: Path, names: list[str], numbers: np.ndarray, strings: list[str]) -> None:
    """Refuse numbers that no table of these cells holds.

    Args:
        path (Path): The file, for errors.
        names (list[str]): The columns of ``numbers``.
        numbers (ndarray): [15625, columns], in the file's order.
        strings (list[str]): The cell of each row.

    Raises:
        UserError: The line names the first.
    """
    operations = np.array([_OPERATION.findall(text) for text in strings])
    dense, pointwise = ((operations == f'nor_conv_{k}').sum(1) for k in ('3x3', '1x1'))
    for name, (base, per_pointwise, per_dense) in SIZES.items():
        if name not in names:
            continue
        expected = base + per_pointwise * pointwise + per_dense * dense
        values = numbers[:, names.index(name)]
        wrong = np.abs(values - expected) > 1e-3 * expected
        if wrong.any():
            row = int(np.argmax(wrong))
            raise UserError(
                f'table {path}, line {row + 2}: {values[row]:g} in the column {name!r}, but '
                f'{strings[row]!r} has {expected[row]:g}'
            )
    # edges by target: 1 from 0, 2 from 0 and 1, 3 from 0, 1 and 2
    joins = (operations != 'none').T
    second = joins[1] | (joins[2] & joins[0])
    apart = ~(joins[3] | (joins[4] & joins[0]) | (joins[5] & second))
    means = {}
    datasets = datasets_of(names)
    for dataset in datasets:
        chance = CHANCE[dataset]
        for split in SPLITS:
            for epochs in EPOCHS:
                name = f'{dataset}_{split}_{epochs}'
                values = numbers[:, names.index(name)]
                wrong = (values < 0) | (values > 100)
                why = 'is no percentage'
                if not wrong.any():
                    wrong = apart & (values > 2 * chance)
                    why = 'is above chance, but the cell joins its output to nothing'
                if wrong.any():
                    row = int(np.argmax(wrong))
                    raise UserError(
                        f'table {path}, line {row + 2}: {values[row]:g} in the column {name!r} '
                        f'{why}'
                    )
                if values.max() <= 1:
                    raise UserError(
                        f'table {path}: the column {name!r} holds fractions where percentages '
                        'are expected'
                    )
                means[name] = float(values.mean())
            _check_means(path, means, f'{dataset}_{split}_12', f'{dataset}_{split}_200')
    for split in SPLITS:
        for epochs in EPOCHS:
            columns = [f'{dataset}_{split}_{epochs}' for dataset in reversed(datasets)]
            for lower, higher in pairwise(columns):
                _check_means(path, means, lower, higher)


def _check_means(path: Path, means: dict[str, float], lower: str, higher: str) -> None:
    if means[lower] >= means[higher]:
        raise UserError(
            f'table {path}: the mean of the column {lower!r}, {means[lower]:.4g}, is not below '
            f'that of {higher!r}, {means[higher]:.4g}: are they exchanged?'
        )


def refuse_negative(path: Path, names: list[str], numbers: np.ndarray, rows: np.ndarray) -> None:
    """Latencies are positive, or 0 where they were rounded.

    Raises:
        UserError: One is negative.
    """
    wrong = np.argwhere(numbers < 0)
    if len(wrong):
        index, column = wrong[0]
        raise UserError(
            f'table {path}, line {rows[index] + 2}: the latency {numbers[index, column]:g} in the '
            f'column {names[column]!r} is negative'
        )


def _number_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float('nan')


def rows_by_index(path: Path, column: np.ndarray) -> np.ndarray:
    """The row of every architecture index, [15625].

    Raises:
        UserError: The column does not hold each index once.
    """
    if len(column) != NUM_CELLS:
        why = ': it is cut off' if len(column) < NUM_CELLS else ''
        raise UserError(f'table {path} has {len(column)} rows instead of {NUM_CELLS}{why}')
    wrong = (column < 0) | (column >= NUM_CELLS) | (column != np.floor(column))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f'table {path}, line {row + 2}: arch_index {column[row]:g} is no whole number within '
            f'0 .. {NUM_CELLS - 1}'
        )
    index = column.astype(np.int64)
    counts = np.bincount(index, minlength=NUM_CELLS)
    if (counts > 1).any():
        raise UserError(
            f'table {path} has arch_index {int(np.argmax(counts > 1))} twice '
            f'and lacks {int(np.argmin(counts))}'
        )
    return np.argsort(index)
