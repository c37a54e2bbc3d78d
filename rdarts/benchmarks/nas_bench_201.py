"""The table of NAS-Bench-201 / NATS-Bench (https://arxiv.org/abs/2001.00326, MIT licence).

The project ships no table; ``docs/en/nas_bench_201.md`` describes the files that are read.
"""

from __future__ import annotations

import gzip
import operator
import os
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rdarts.errors import UserError, nearest

OPERATIONS = ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')
DATASETS = ('cifar10', 'cifar100', 'imagenet16_120')
SPLITS = ('test', 'valid')
EPOCHS = (12, 200)
NUM_CELLS = len(OPERATIONS) ** 6
TABLE_NAME = 'nasbench201.csv.gz'
LATENCY_NAME = 'nasbench201_latency.csv.gz'

_OP = '(?:' + '|'.join(OPERATIONS) + ')'
_OPERATION = re.compile(r'(\w+)~')
_CELL = re.compile(
    r'\+'.join(
        r'\|' + ''.join(rf'{_OP}~{source}\|' for source in range(node)) for node in (1, 2, 3)
    )
)

# Parameters of the classifier beyond CIFAR-10's ten classes: 65 a class
_MORE_PARAMETERS = dict(cifar10=0, cifar100=65 * 90, imagenet16_120=65 * 110)

# Millions of the network without 1x1 and 3x3 convolutions, and more for each of the two
_SIZES = dict(
    params_m_cifar10=(0.073306, 0.028, 0.24304),
    flops_m_cifar10=(7.78305, 3.93216, 35.38944),
    flops_m_cifar100=(7.7889, 3.93216, 35.38944),
    flops_m_imagenet16_120=(1.9534, 0.98304, 8.84736),
)
_CHANCE = dict(cifar10=10.0, cifar100=1.0, imagenet16_120=100 / 120)

_REQUIRED = (
    'arch_index',
    'arch_str',
    *(f'{d}_{s}_{e}' for d in DATASETS for s in SPLITS for e in EPOCHS),
    'params_m_cifar10',
    *(f'flops_m_{d}' for d in DATASETS),
)


def find_table(path: str | os.PathLike | None = None) -> Path | None:
    """Where the table is.

    Args:
        path (str | PathLike, optional): A folder or file of one's own.

    Returns:
        Path | None: ``path``; else ``nasbench201`` under ``RDARTS_DATA``, or under ``data`` in
        the working directory; None where neither is there.
    """
    if path is not None:
        return Path(path).expanduser()
    folder = Path(os.environ.get('RDARTS_DATA') or 'data').expanduser() / 'nasbench201'
    return folder if folder.exists() else None


def _read(path: Path, required: tuple[str, ...]) -> tuple[list[str], np.ndarray, list[str]]:
    """The numbers' names, the numbers [rows, columns less arch_str] and the arch strings."""
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
    missing = [name for name in required if name not in header]
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
                f'table {path}, line {row + 2}: {len(fields)} fields instead of {len(header)} '
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


def _check_values(path: Path, names: list[str], numbers: np.ndarray, strings: list[str]) -> None:
    """Numbers that no table of these cells holds."""
    operations = np.array([_OPERATION.findall(text) for text in strings])
    dense, pointwise = ((operations == f'nor_conv_{k}').sum(1) for k in ('3x3', '1x1'))
    for name, (base, per_pointwise, per_dense) in _SIZES.items():
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
    for dataset, chance in _CHANCE.items():
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
            columns = [f'{dataset}_{split}_{epochs}' for dataset in reversed(DATASETS)]
            for lower, higher in pairwise(columns):
                _check_means(path, means, lower, higher)


def _check_means(path: Path, means: dict[str, float], lower: str, higher: str) -> None:
    if means[lower] >= means[higher]:
        raise UserError(
            f'table {path}: the mean of the column {lower!r}, {means[lower]:.4g}, is not below '
            f'that of {higher!r}, {means[higher]:.4g}: are they exchanged?'
        )


def _refuse_negative(path: Path, names: list[str], numbers: np.ndarray, rows: np.ndarray) -> None:
    """Latencies are positive, or 0 where they were rounded."""
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


def _indices(path: Path, column: np.ndarray) -> np.ndarray:
    """The row of every architecture index."""
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


def _check(value: Any, known: tuple[str, ...], name: str) -> None:
    if value not in known:
        hint = nearest(str(value).lower().replace('-', '_'), known)
        raise UserError(f'NAS-Bench-201: unknown {name} {value!r}: {hint}')


def _column_name(dataset: str, split: str, epochs: int) -> str:
    """The column of an accuracy; a UserError where there is none."""
    _check(dataset, DATASETS, 'data set')
    _check(split, SPLITS, 'split')
    if epochs not in EPOCHS:
        raise UserError(f'NAS-Bench-201: unknown number of epochs {epochs!r}: known: 12 and 200')
    return f'{dataset}_{split}_{int(epochs)}'


@dataclass(frozen=True)
class Record:
    """What the table holds of one cell.

    Args:
        table (NASBench201): The table.
        index (int): The official architecture index.
        arch_str (str): The official string.
    """

    table: NASBench201 = field(repr=False)
    index: int
    arch_str: str

    def accuracy(self, dataset: str = 'cifar10', split: str = 'test', epochs: int = 200) -> float:
        """Accuracy in percent, mean over the benchmark's runs.

        Args:
            dataset (str): ``'cifar10'``, ``'cifar100'`` or ``'imagenet16_120'``.
            split (str): ``'test'`` or ``'valid'``.
            epochs (int): 200, or 12 of the separate short schedule.

        Raises:
            UserError: One of them is not known.
        """
        return self._number(_column_name(dataset, split, epochs))

    def params(self, dataset: str = 'cifar10') -> int:
        """Number of parameters of the derived network (C 16, N 5), classifier included."""
        _check(dataset, DATASETS, 'data set')
        return round(self._number('params_m_cifar10') * 1e6) + _MORE_PARAMETERS[dataset]

    def macs(self, dataset: str = 'cifar10') -> int:
        """Multiply-adds of its convolutions and classifier for one image."""
        _check(dataset, DATASETS, 'data set')
        return round(self._number(f'flops_m_{dataset}') * 1e6)

    def latency(self, device: str) -> float:
        """Measured latency in ms on a device (see :attr:`NASBench201.devices`)."""
        return float(self.table.latencies(device)[self.index])

    def as_dict(self) -> dict[str, Any]:
        """Every column of the table, by name."""
        names = self.table.columns
        return dict(
            arch_index=self.index,
            arch_str=self.arch_str,
            **{name: self._number(name) for name in names if name != 'arch_index'},
        )

    def _number(self, name: str) -> float:
        return float(self.table.column(name)[self.index])


class NASBench201:
    """The 15,625 cells of NAS-Bench-201, by string, index or genotype.

    Args:
        path (str | PathLike): The folder that holds ``nasbench201.csv.gz`` and, for further
            devices, ``nasbench201_latency.csv.gz``; or the first file itself, packed or not.

    Raises:
        UserError: The table is missing, cut off, has other columns, or holds what no table of these
            cells can: accuracies that are no percentages or above chance for a cell that joins
            nothing, sizes other than a cell's, columns exchanged. The line names the first.
    """

    datasets = DATASETS

    @classmethod
    def find(cls, path: str | os.PathLike | None = None) -> NASBench201 | None:
        """The table that :func:`find_table` finds; None where there is none."""
        found = find_table(path)
        return None if found is None else cls(found)

    def __init__(self, path: str | os.PathLike) -> None:
        path = Path(path).expanduser()
        self._folder = path if path.is_dir() else path.parent
        self.path = path / TABLE_NAME if path.is_dir() else path
        names, numbers, strings = _read(self.path, _REQUIRED)
        for row, text in enumerate(strings):
            if not _CELL.fullmatch(text):
                raise UserError(f'table {self.path}, line {row + 2}: {_why_unknown(text)}')
        rows = _indices(self.path, numbers[:, names.index('arch_index')])
        repeated = [text for text, count in Counter(strings).items() if count > 1]
        if repeated:
            raise UserError(f'table {self.path} has the cell {repeated[0]!r} twice')
        _check_values(self.path, names, numbers, strings)
        self._numbers = numbers[rows]
        self._numbers.flags.writeable = False
        self._strings = [strings[row] for row in rows]
        self.columns = tuple(names)
        self._by_string = {text: index for index, text in enumerate(self._strings)}
        self._rows = rows
        self._latencies: dict[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return NUM_CELLS

    def column(self, name: str) -> np.ndarray:
        """A column in the order of the architecture indices, [15625], read-only.

        Raises:
            UserError: There is no such column.
        """
        _check(name, self.columns, 'column')
        return self._numbers[:, self.columns.index(name)]

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices whose latency is known."""
        return tuple(self._latency_columns())

    def latencies(self, device: str) -> np.ndarray:
        """Latencies in ms on a device by architecture index, [15625], read-only.

        Raises:
            UserError: The device is not known.
        """
        columns = self._latency_columns()
        if not columns:
            raise UserError(
                f'NAS-Bench-201: no latency of {device!r}: {self.path} holds none (put '
                f'{LATENCY_NAME} beside it)'
            )
        _check(device, tuple(columns), 'device')
        return columns[device]

    def _latency_columns(self) -> dict[str, np.ndarray]:
        if self._latencies is None:
            prefix = 'latency_ms_'
            found = {c.removeprefix(prefix): c for c in self.columns if c.startswith(prefix)}
            latencies = {device: self.column(name) for device, name in found.items()}
            if found:
                values = np.stack(list(latencies.values()), axis=1)
                _refuse_negative(self.path, list(found.values()), values, self._rows)
            path = self._folder / LATENCY_NAME
            if path.is_file():
                names, numbers, _ = _read(path, ('arch_index',))
                rows = _indices(path, numbers[:, names.index('arch_index')])
                numbers = numbers[rows]
                _refuse_negative(path, names, numbers, rows)
                numbers.flags.writeable = False
                for i, name in enumerate(names):
                    if name != 'arch_index':
                        latencies[name] = numbers[:, i]
            # only now: a damaged file is an error at every call, not at the first alone
            self._latencies = latencies
        return self._latencies

    def index_of(self, arch_str: str) -> int:
        """The official index of a string.

        Raises:
            UserError: The string is no cell of NAS-Bench-201; the line says why.
        """
        index = self._by_string.get(arch_str)
        if index is None:
            raise UserError(f'NAS-Bench-201: {_why_unknown(arch_str)}')
        return index

    def query(self, cell: str | int | Any) -> Record:
        """Look a cell up.

        Args:
            cell (str | int | DenseCellGenotype): Official string, official index, or genotype.

        Raises:
            UserError: There is no such cell.
        """
        if hasattr(cell, 'to_string'):
            cell = cell.to_string()
        if isinstance(cell, str):
            index = self.index_of(cell.strip())
        else:
            try:
                index = operator.index(cell)
            except TypeError:
                raise UserError(
                    f'NAS-Bench-201: {cell!r} is no cell: give its official string, its index or '
                    'a genotype'
                ) from None
            if not 0 <= index < NUM_CELLS:
                raise UserError(f'NAS-Bench-201: index {cell} is not within 0 .. {NUM_CELLS - 1}')
        return Record(self, index, self._strings[index])

    def best(self, dataset: str = 'cifar10', split: str = 'test', epochs: int = 200) -> Record:
        """The cell of highest accuracy; for the arguments see :meth:`Record.accuracy`."""
        return self.query(int(np.argmax(self.column(_column_name(dataset, split, epochs)))))


def _why_unknown(text: str) -> str:
    """What is wrong with an architecture string."""
    form = '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|'
    nodes = text.split('+')
    if len(nodes) != 3:
        return f'cell {text!r} has {len(nodes)} nodes instead of 3: it must read {form}'
    for node, part in enumerate(nodes, 1):
        edges = part.split('|')
        if len(edges) != node + 2 or edges[0] or edges[-1]:
            return f'cell {text!r}, node {node}: {part!r} does not have {node} edges as in {form}'
        for source, edge in enumerate(edges[1:-1]):
            operation, _, index = edge.partition('~')
            if index != str(source):
                return f'cell {text!r}, node {node}: {edge!r} must end in ~{source}'
            if operation not in OPERATIONS:
                hint = nearest(operation, OPERATIONS)
                return f"cell {text!r}, node {node}: unknown operation '{operation}': {hint}"
    return f'cell {text!r} is not in the table'


def open_table(path: str | os.PathLike | None = None) -> NASBench201 | None:
    """See :meth:`NASBench201.find`."""
    return NASBench201.find(path)
