"""Decisions of a selection after the search: rows of the log, and what they say in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rdarts.errors import UserError
from rdarts.results.log import LOG
from rdarts.results.row import number
from rdarts.results.search_run import SearchRun

KIND = 'selection'


def decision_in_words(row: Mapping[str, Any]) -> str:
    """Such as ``edge 0-2 of the cell 'normal' keeps none (accuracy without each: ...)``."""
    where = f'edge {row["edge"]}' if 'edge' in row else f'node {row["node"]}'
    tried = ', '.join(f'{name} {value:.4g}' for name, value in row['scores'].items())
    scores = f' ({row["criterion"]} without each: {tried})' if tried else ''
    return f"{where} of the cell '{row['cell']}' keeps {' and '.join(row['kept'])}{scores}"


def decisions_before(run: SearchRun, epoch: int) -> list[str]:
    """What a selection decided between an epoch and the one before it, in words.

    Args:
        run (SearchRun): The search.
        epoch (int): From 1.

    Raises:
        UserError: A row is none that a selection writes.
    """
    rows = [row for row in run.of_kind(KIND) if row['epoch'] == epoch - 1]
    for row in rows:
        _check(row, f'{run.folder / LOG}, decision before epoch {epoch}')
    return [decision_in_words(row) for row in rows]


def _check(row: Mapping[str, Any], where: str) -> None:
    kept, scores = row.get('kept'), row.get('scores')
    fits = dict(
        cell=isinstance(row.get('cell'), str),
        edge=isinstance(row.get('edge', ''), str),
        node=isinstance(row.get('node', 0), int) and ('node' in row) != ('edge' in row),
        criterion=isinstance(row.get('criterion'), str),
        kept=isinstance(kept, list) and all(isinstance(one, str) for one in kept),
        scores=isinstance(scores, dict) and all(number(scores, key) is not None for key in scores),
    )
    for key, fit in fits.items():
        if not fit:
            raise UserError(f"{where}: '{key}' is not what a selection logs")
