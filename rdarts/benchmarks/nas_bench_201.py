"""The table of NAS-Bench-201 / NATS-Bench (https://arxiv.org/abs/2001.00326, MIT licence).

The project ships no table; ``docs/en/nas_bench_201.md`` describes the files that are read.
"""

from __future__ import annotations

import operator
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rdarts.benchmarks.nas_bench_201_file import (
    DATASETS,
    EPOCHS,
    FURTHER,
    LATENCY_NAME,
    NUM_CELLS,
    OPERATIONS,
    REQUIRED,
    SPLITS,
    TABLE_NAME,
    check_values,
    datasets_of,
    read_table,
    refuse_negative,
    rows_by_index,
)
from rdarts.errors import UserError, nearest
from rdarts.utils.wording import plural

_OP = '(?:' + '|'.join(OPERATIONS) + ')'
_CELL = re.compile(
    r'\+'.join(
        r'\|' + ''.join(rf'{_OP}~{source}\|' for source in range(node)) for node in (1, 2, 3)
    )
)

# Parameters of the classifier beyond CIFAR-10's ten classes: 65 a class
_MORE_PARAMETERS = dict(cifar10=0, cifar100=65 * 90, imagenet16_120=65 * 110)


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


def _check(value: Any, known: tuple[str, ...], name: str) -> None:
    if value not in known:
        hint = nearest(str(value).lower().replace('-', '_'), known)
        raise UserError(f'NAS-Bench-201: unknown {name} {value!r}: {hint}')


def column_name(dataset: str, split: str, epochs: int) -> str:
    """The column of an accuracy.

    Args:
        dataset (str): One of ``DATASETS``.
        split (str): ``'test'`` or ``'valid'``.
        epochs (int): 200, or 12 of the separate short schedule.

    Raises:
        UserError: There is none.
    """
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
            UserError: One of them is not known, or not in the table.
        """
        return self._number(column_name(dataset, split, epochs))

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

    Attributes:
        datasets (tuple[str, ...]): Those that the table has: CIFAR-10, and of the two others those
            whose columns are there.

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
        names, numbers, strings = read_table(self.path, REQUIRED, FURTHER)
        for row, text in enumerate(strings):
            if not _CELL.fullmatch(text):
                raise UserError(f'table {self.path}, line {row + 2}: {_why_unknown(text)}')
        rows = rows_by_index(self.path, numbers[:, names.index('arch_index')])
        repeated = [text for text, count in Counter(strings).items() if count > 1]
        if repeated:
            raise UserError(f'table {self.path} has the cell {repeated[0]!r} twice')
        check_values(self.path, names, numbers, strings)
        self._numbers = numbers[rows]
        self._numbers.flags.writeable = False
        self._strings = [strings[row] for row in rows]
        self.columns = tuple(names)
        self.datasets = datasets_of(names)
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
        if name in REQUIRED and name not in self.columns:
            for dataset in DATASETS:
                if dataset in name and dataset not in self.datasets:
                    raise UserError(
                        f'NAS-Bench-201: table {self.path} lacks the data set {dataset}'
                    )
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
                refuse_negative(self.path, list(found.values()), values, self._rows)
            path = self._folder / LATENCY_NAME
            if path.is_file():
                names, numbers, _ = read_table(path, ('arch_index',))
                rows = rows_by_index(path, numbers[:, names.index('arch_index')])
                numbers = numbers[rows]
                refuse_negative(path, names, numbers, rows)
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
        return self.query(int(np.argmax(self.column(column_name(dataset, split, epochs)))))


def _why_unknown(text: str) -> str:
    """What is wrong with an architecture string."""
    form = '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|'
    nodes = text.split('+')
    if len(nodes) != 3:
        return f'cell {text!r} has {plural(len(nodes), "node")} instead of 3: it must read {form}'
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
