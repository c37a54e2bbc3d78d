"""The rows of a search's log."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rdarts.errors import UserError
from rdarts.results.row import is_count
from rdarts.utils.files import read_text

LOG = 'search_log.jsonl'
ROLL_BACK = 'roll_back'  # the kind of a row that says that the search went back to an epoch
MAX_LOG_BYTES = 2**31


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
    path = Path(work_dir) / LOG
    try:
        lines = read_text(path, MAX_LOG_BYTES).splitlines()
    except FileNotFoundError:
        raise UserError(f'no {LOG} in {work_dir}: is it the folder of a search?') from None
    rows: list[dict[str, Any]] = []
    for place, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if place == len(lines):
                break  # a row that was being written when the search was killed
            raise UserError(f'{path}, line {place}: no JSON') from None
        named = isinstance(row, dict) and isinstance(row.get('kind'), str)
        if not named or not is_count(row.get('epoch')):
            raise UserError(f'{path}, line {place}: no row of a search log')
        if row['kind'] == ROLL_BACK and not left:
            rows = [one for one in rows if one['kind'] == ROLL_BACK or one['epoch'] <= row['epoch']]
        rows.append(row)
    return rows if kind is None else [row for row in rows if row['kind'] == kind]
