"""Checkpoints of a search that asks: its state as data, written whole or not at all."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rdarts.checkpoint.directory import last_good, list_checkpoints
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.checkpoint.schema import (
    EntryError,
    Items,
    Number,
    Plain,
    Table,
    Text,
    Whole,
    check_entry,
)
from rdarts.errors import RunFailed, UserError
from rdarts.utils.files import write_atomically
from rdarts.utils.machine_errors import explain_machine

KEPT = 2  # should one be damaged, there is another
_META = Table(dict(epoch=Whole(), iter=Whole(), seed=Whole()))
_LOG = Table(dict(bytes=Whole(), seconds=Number(0)))
_QUERIES = Table(
    dict(
        space=Text(),
        strategy=Text(),
        state=Table(others=Plain()),
        generator=Table(others=Plain()),
        asked=Items(Table(others=Plain())),
    ),
    may=dict(evaluator=Text()),  # older ones have none
)


def write_checkpoint(
    folder: Path, meta: Mapping[str, Any], log: Mapping[str, Any], queries: Mapping[str, Any]
) -> None:
    """Write ``iter_<n>.pth`` as the newest checkpoint, and delete the oldest.

    Args:
        folder (Path): Where.
        meta (Mapping): ``epoch`` (0), ``iter`` (the number of queries) and ``seed``.
        log (Mapping): ``bytes`` of the log, and ``seconds`` of the search.
        queries (Mapping): JSON data: ``space``, ``strategy`` and ``evaluator`` (names),
            ``state`` of the strategy, ``generator`` (its state), and ``asked``, every query.

    Raises:
        RunFailed: It cannot be written.
    """
    path = folder / f'iter_{meta["iter"]}.pth'
    text = json.dumps(queries, allow_nan=False)
    buffer = io.BytesIO()
    torch.save(dict(meta=dict(meta), search_log=dict(log), queries=text), buffer)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
        write_atomically(folder / 'last_checkpoint', os.fsencode(path))
        for old in list_checkpoints(folder)[KEPT:]:
            old.unlink()
    except OSError as error:
        why = explain_machine(error) or error
        raise RunFailed(f'cannot write the checkpoint {path}: {why}. {last_good(folder)}') from None


def read_queries(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What :func:`write_checkpoint` was given.

    Args:
        path (str | PathLike): The checkpoint.

    Raises:
        UserError: It is damaged, or of no search that asks.
    """
    checkpoint = read_checkpoint(path)
    text = checkpoint.get('queries')
    if not isinstance(text, str):
        raise UserError(f'cannot resume: {path} is of no search that asks')
    try:
        queries = json.loads(text)
    except (ValueError, RecursionError):
        raise EntryError('queries', 'is no JSON') from None
    found = checkpoint.get('meta'), checkpoint.get('search_log'), queries
    for name, entry, spec in zip(
        ('meta', 'search_log', 'queries'), found, (_META, _LOG, _QUERIES), strict=True
    ):
        check_entry(entry, spec, name)
    return found
