"""What is kept of a log that is read row by row: of iterations means, of epochs what is shown."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rdarts.results.log import ROLL_BACK, log_rows
from rdarts.results.queries import QUERY
from rdarts.results.row import number

ITERATION = 'iter'  # the kind of the rows of which there are most
LARGEST = ('time', 'memory')  # of iterations, of which the largest counts
FACTOR = ('regularizers', 'ber', 'lambda_')
Keys = tuple[str, ...]  # where a number is in a row


class Digest:
    """The rows of a log that still stand, in little memory.

    Of rows of kind ``iter``, the mean of each number over an epoch is kept, the largest time and
    memory of an epoch, and each change of BER's factor; of rows of kind ``epoch``, raw alpha and
    the entropy of each edge are left out, and ``weights`` are arrays. All other rows are whole.

    Args:
        folder (str | PathLike): Work directory of a search.

    Raises:
        UserError: There is no log, or a line of it is no row.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.rows: list[dict[str, Any]] = []
        self._open: tuple[int, str] | None = None  # epoch and run whose iterations are read
        self._values: dict[str, Any] = {}  # theirs: lists in the nested form of a row
        self._sums: dict[Keys, dict[int, tuple[float, int]]] = {}
        self._largest: dict[str, dict[tuple[int, str], float]] = {name: {} for name in LARGEST}
        self._factors: list[tuple[int, float]] = []
        last: dict[str, Any] = {}
        for row in log_rows(folder):
            kind, epoch = row['kind'], row['epoch']
            if kind == ITERATION:
                place = (epoch, run_of(row))
                if place != self._open:
                    self._close()
                    self._open = place
                _gather(row, self._values)
                continue
            if kind == ROLL_BACK:
                self._go_back(epoch)
            elif kind == 'epoch':
                last = _lessen(row, last)
            self.rows.append(row)
        self._close()

    def means(self, *keys: str) -> dict[int, float]:
        """Epoch -> mean of one number over its iterations.

        Args:
            *keys (str): Where the number is in a row.
        """
        return {epoch: total / n for epoch, (total, n) in self._sums.get(keys, {}).items() if n}

    def names(self, key: str) -> list[str]:
        """The names below a key of the rows of iterations."""
        return list(dict.fromkeys(path[1] for path in self._sums if path[0] == key and path[1:]))

    def largest(self, name: str) -> list[tuple[str, float]]:
        """Of each epoch's iterations, their run (see :func:`run_of`) and the largest number.

        Args:
            name (str): ``time`` or ``memory``.
        """
        return [(run, value) for (_, run), value in self._largest[name].items()]

    def seconds(self) -> dict[str, float]:
        """Run (see :func:`run_of`) -> how long it has run; only those of which a row says it."""
        told = [
            (run_of(row), number(row, 'seconds' if row['kind'] == QUERY else 'time'))
            for row in self.rows
        ]
        longest: dict[str, float] = {}
        for run, seconds in (*told, *self.largest('time')):
            if seconds is not None:
                longest[run] = max(seconds, longest.get(run, 0.0))
        return longest

    def times(self) -> dict[int, float]:
        """Epoch -> seconds since the search began, of its last iteration, all phases together."""
        found: dict[int, float] = {}
        before, longest, last = 0.0, 0.0, None
        for (epoch, run), seconds in self._largest['time'].items():
            if run != last:
                before, longest, last = before + longest, 0.0, run
            longest = max(longest, seconds)
            found[epoch] = before + longest
        return found

    @property
    def factors(self) -> list[float]:
        """BER's factor in the first iteration, and each time that it is another one."""
        return [factor for _, factor in self._factors]

    def _close(self) -> None:
        """The iterations of an epoch are read: keep what is told of them."""
        if self._open is None:
            return
        epoch, _ = self._open
        for path, values in _leaves(self._values):
            total, count = _sum(values)
            known = self._sums.setdefault(path, {})
            before = known.get(epoch, (0.0, 0))
            known[epoch] = (before[0] + total, before[1] + count) if before[1] else (total, count)
            if path == FACTOR:
                for factor in _finite(values):
                    if not self._factors or self._factors[-1][1] != factor:
                        self._factors.append((epoch, factor))
            elif path in ((name,) for name in LARGEST) and count:
                found = self._largest[path[0]]
                found[self._open] = max(*_finite(values), found.get(self._open, -math.inf))
        self._open, self._values = None, {}

    def _go_back(self, epoch: int) -> None:
        """Forget what came after an epoch."""
        self._close()
        kept = (row for row in self.rows if row['kind'] == ROLL_BACK or row['epoch'] <= epoch)
        self.rows = list(kept)
        self._factors = [(at, factor) for at, factor in self._factors if at <= epoch]
        for known in (*self._sums.values(), *self._largest.values()):
            for at in [at for at in known if (at if isinstance(at, int) else at[0]) > epoch]:
                del known[at]
        self._sums = {path: known for path, known in self._sums.items() if known}


def run_of(row: Mapping[str, Any]) -> str:
    """The phase and branch of a row: its time is counted within these."""
    return f'{row.get("phase")} {row.get("branch")}'


def _gather(row: Mapping[str, Any], values: dict[str, Any]) -> None:
    """Add the numbers of a row to lists in its form; what is no number leaves an empty list."""
    for key, value in row.items():
        if isinstance(value, dict):
            below = values.setdefault(key, {})
            if isinstance(below, dict):  # as it is in all rows of a search
                _gather(value, below)
            continue
        found = values.get(key)
        if found is None:
            found = values[key] = []
        if type(value) in (float, int) and type(found) is list:
            found.append(value)


def _leaves(values: Mapping[str, Any], path: Keys = ()) -> Iterator[tuple[Keys, list[float]]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _sum(values: list[float]) -> tuple[float, int]:
    """Sum and count of those that are finite."""
    try:
        total = float(sum(values))
    except OverflowError:
        total = math.nan
    if not math.isfinite(total):
        values = _finite(values)
        total = sum(values)
    return total, len(values)


def _finite(values: list[float]) -> list[float]:
    return [found for value in values if (found := number(value)) is not None]


def _lessen(row: dict[str, Any], last: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of an epoch's row what is not shown, and store the rest closer.

    Args:
        row (dict): It is changed.
        last (Mapping): The row of the epoch before, to share what has stayed the same.
    """
    if row.get('alpha') != {}:  # which says that there is none
        row.pop('alpha', None)
    row.pop('entropy', None)
    weights = row.get('weights')
    if isinstance(weights, dict):
        row['weights'] = {name: _packed(edges) for name, edges in weights.items()}
    for key in ('alive', 'genotype'):
        if key in row and key in last and repr(row[key]) == repr(last[key]):
            row[key] = last[key]
    return row


def _packed(edges: Any) -> Any:
    """A table of floats as an array; what is none as it is, to be refused where it is read."""
    try:
        if set(map(type, itertools.chain.from_iterable(edges))) == {float}:
            return np.array(edges)
    except (TypeError, ValueError):
        pass
    return edges
