"""Changes to what a search wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def change_log(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Apply a change to every row of a log."""
    path = folder / 'search_log.jsonl'
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        change(row)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))


def change_epoch(folder: Path, epoch: int, **values: Any) -> None:
    """Set keys of the row of one epoch."""

    def change(row: dict[str, Any]) -> None:
        if (row['kind'], row['epoch']) == ('epoch', epoch):
            row.update(values)

    change_log(folder, change)


def change_config(folder: Path, code: str) -> None:
    """Run statements on the top-level names of the config that a work directory holds."""
    path = folder / 'config.json'
    names = json.loads(path.read_text())
    exec(code, {'dict': dict}, names)
    path.write_text(json.dumps(names))


def change_space(folder: Path, space: Any) -> None:
    """Set what the log says was searched."""

    def change(row: dict[str, Any]) -> None:
        if row['kind'] == 'start':
            row['space'] = space

    change_log(folder, change)


def keep(folder: Path, epoch: int) -> None:
    """Make an epoch's genotype the one that was found, as a stopped search does."""
    shutil.copy(folder / 'genotypes' / f'epoch_{epoch}.json', folder / 'genotype.json')


def still_running(folder: Path) -> None:
    """As while a search runs."""
    (folder / 'genotype.json').unlink(missing_ok=True)


def drop(folder: Path, epoch: int) -> None:
    """From an epoch on, the last two candidates of every edge are dropped."""

    def change(row: dict[str, Any]) -> None:
        if row['kind'] == 'epoch' and row['epoch'] >= epoch:
            row['alive'] = {}
            for cell, edges in row['weights'].items():  # of spaces with one group a cell type
                row['alive'][cell] = [[True] * (len(edge) - 2) + [False] * 2 for edge in edges]
                for edge in edges:
                    edge[-2:] = [0.0, 0.0]

    change_log(folder, change)
