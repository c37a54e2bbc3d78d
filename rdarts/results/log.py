"""The rows of a search's log."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rdarts.errors import UserError
from rdarts.results.row import is_count
from rdarts.utils.files import read_lines

LOG = 'search_log.jsonl'
ROLL_BACK = 'roll_back'  # the kind of a row that says that the search went back to an epoch
MAX_LOG_BYTES = 2**31
TOGETHER = 200  # lines that are parsed as one: their keys are then the same objects
NO_JSON = object()


def _parsed(lines: Iterable[bytes]) -> Iterator[Any]:
    """Each line as data, or ``NO_JSON``."""
    lines = iter(lines)
    while some := list(itertools.islice(lines, TOGETHER)):
        try:
            found = json.loads(f'[{b",".join(some).decode()}]')
        except (ValueError, RecursionError):
            found = []
        # one by one where a line is not a row by itself
        yield from found if len(found) == len(some) else map(_parsed_line, some)


def _parsed_line(line: bytes) -> Any:
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError):
        return NO_JSON


def log_rows(work_dir: str | os.PathLike) -> Iterator[dict[str, Any]]:
    """The rows of ``search_log.jsonl``, one after the other, those that were gone back on as well.

    Args:
        work_dir (str | PathLike): Work directory of a search.

    Raises:
        UserError: There is no log, or a line of it is no row.
    """
    path = Path(work_dir) / LOG
    try:
        torn = None
        for place, row in enumerate(_parsed(read_lines(path, MAX_LOG_BYTES)), 1):
            if torn is not None:
                raise UserError(f'{path}, line {torn}: no JSON')
            if row is NO_JSON:
                torn = place  # a row that was being written when the search was killed, if the last
                continue
            named = isinstance(row, dict) and isinstance(row.get('kind'), str)
            if not named or not is_count(row.get('epoch')):
                raise UserError(f'{path}, line {place}: no row of a search log')
            yield row
    except FileNotFoundError:
        raise UserError(f'no {LOG} in {work_dir}: is it the folder of a search?') from None
    except UnicodeDecodeError:
        raise UserError(f'cannot read {path}: not a text file') from None


def read_search_log(
    work_dir: str | os.PathLike, kind: str | None = None, left: bool = False
) -> list[dict[str, Any]]:
    """The rows of ``search_log.jsonl``.

    Args:
        work_dir (str | PathLike): Work directory of a search.
        kind (str, optional): Only rows of this kind: ``start``, ``iter``, ``epoch``, ``val``,
            ``query``, ``front``, ``roll_back``, ``phase``, ``selection``.
        left (bool): Whether rows of epochs are among them that the search has gone back on. Without
            them no epoch is there twice. Defaults to False.

    Returns:
        list[dict]: See ``docs/en/search_log.md``.

    Raises:
        UserError: There is no log, or a line of it is no row.
    """
    rows: list[dict[str, Any]] = []
    for row in log_rows(work_dir):
        if row['kind'] == ROLL_BACK and not left:
            rows = [one for one in rows if one['kind'] == ROLL_BACK or one['epoch'] <= row['epoch']]
        # those of other kinds end with the loop
        if kind is None or row['kind'] == kind:
            rows.append(row)
    return rows
