"""Runs that are killed, and whether two runs are the same in every bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from rdarts.checkpoint.reading import read_checkpoint

MEASURED = ('time', 'data_time', 'memory', 'seconds')
# of a checkpoint, what is about the start that saved it; the layout is of all of it, these included
OF_STARTS = {'meta', 'message_hub', 'search_log', 'layout'}


class Killed(BaseException):
    """As SIGKILL ends a run: nothing catches it."""


def rows(work_dir: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The search log, or its rows of one kind, without times and memory."""
    lines = (work_dir / 'search_log.jsonl').read_text().splitlines()
    return [
        {key: value for key, value in row.items() if key not in MEASURED}
        for row in map(json.loads, lines)
        if kind in (None, row['kind'])
    ]


def differences(left: Any, right: Any, place: str = '') -> Iterator[str]:
    """Where two nested states differ, in any bit."""
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        if left.dtype != right.dtype or not torch.equal(left, right):
            yield place
    elif isinstance(left, dict) and isinstance(right, dict):
        yield from (f'{place}.{key}' for key in left.keys() ^ right.keys())
        for key in left.keys() & right.keys():
            yield from differences(left[key], right[key], f'{place}.{key}')
    elif isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        if len(left) != len(right):
            yield place
        for index, pair in enumerate(zip(left, right, strict=False)):
            yield from differences(*pair, f'{place}.{index}')
    elif left != right:
        yield place


def same(left: Any, right: Any) -> bool:
    """Whether two nested states are equal bit by bit."""
    return not any(True for _ in differences(left, right))


def assert_same_state(left: Path, right: Path) -> None:
    """Two checkpoints hold the same, but for what is about the starts that saved them."""
    states = (read_checkpoint(path) for path in (left, right))
    kept = ({k: v for k, v in state.items() if k not in OF_STARTS} for state in states)
    assert not list(differences(*kept))


def assert_same_run(work_dir: Path, reference: Path, last: str) -> None:
    """Two searches have logged, found and ended with the same."""
    assert rows(work_dir) == rows(reference)
    names, found = (
        sorted(path.name for path in (folder / 'genotypes').iterdir())
        for folder in (reference, work_dir)
    )
    # what a search had found that had ended before it was resumed is kept
    assert names == [name for name in found if not name.startswith('ended_at_')]
    for name in ('genotype.json', 'split.json', *(f'genotypes/{name}' for name in names)):
        if (reference / name).exists():
            assert (work_dir / name).read_bytes() == (reference / name).read_bytes(), name
    assert_same_state(work_dir / last, reference / last)
    assert not list(work_dir.glob('.*.tmp'))
