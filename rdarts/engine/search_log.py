"""The search's log as it is written: one file over all starts and phases of a search."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rdarts.checkpoint.schema import Number, Table, Whole, check_entry
from rdarts.engine.facts import Place
from rdarts.results.digest import Digest, run_of
from rdarts.results.log import LOG

SCHEMA = 1
_SAVED = Table(dict(bytes=Whole(), seconds=Number(0)))


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def add_row(path: Path, place: Place, kind: str, epoch: int, iteration: int, **values: Any) -> None:
    """Add a row to the log.

    Args:
        path (Path): The file.
        place (Place): Of the run. The row counts epochs and iterations over the whole search.
        kind (str): Of the row.
        epoch, iteration (int): Of the run.
        **values: What else the row holds.
    """
    row = dict(
        schema=SCHEMA,
        kind=kind,
        epoch=place.epochs_before + epoch,
        iter=place.iterations_before + iteration,
        **place.keys,
        **_finite(values),
    )
    try:
        with open(path, 'a', encoding='utf-8') as file:
            file.write(json.dumps(row, allow_nan=False) + '\n')
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)
        raise


def saved_log(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a checkpoint says of the log: its ``bytes``, and the ``seconds`` of the run until then.

    Args:
        checkpoint (dict): Of a run that is resumed.

    Returns:
        dict | None: None of a run that wrote no log.

    Raises:
        EntryError: The entry is none that a run has written.
    """
    saved = checkpoint.get('search_log')
    if saved is not None:
        check_entry(saved, _SAVED, 'search_log')
    return saved


def seconds_before(place: Place) -> float:
    """How long the runs of a search took that came before one of its phases.

    Each counts up to its last row that has a time: of an epoch's end, validation and checkpoint
    after the last iteration nothing is counted.

    Args:
        place (Place): That of the run. Its log has nothing of later ones.

    Returns:
        float: 0 of a search without phases.
    """
    if place.phase is None or not (place.folder / LOG).is_file():
        return 0.0
    own = run_of(place.keys)
    return sum(s for run, s in Digest(place.folder).seconds().items() if run != own)


def cut(path: Path, size: int) -> int:
    """Cut a log back to a length, and make it where it is missing.

    Args:
        path (Path): The file.
        size (int): In bytes.

    Returns:
        int: How many bytes it lacks, 0 where it was long enough.
    """
    with open(path, 'ab') as file:
        there = file.seek(0, os.SEEK_END)
        if there > size:
            file.truncate(size)
    return max(0, size - there)


def synced_size(path: Path) -> int:
    """Bytes of a log, which outlast a power cut as what names them does; 0 where there is none."""
    if not path.exists():  # not on every machine
        return 0
    with open(path, 'rb+') as file:
        os.fsync(file.fileno())
        return file.seek(0, os.SEEK_END)
