"""One process of the test of splits on several ranks, importable by a process of its own."""

from __future__ import annotations

from typing import Any

from test_architect.test_split_by_gradient import GATES, beginning, distances_of, ended, split


def split_worker() -> dict[str, Any]:
    """What a rank splits, from its own half of the images."""
    last = ended(relaxation=GATES)
    new = beginning(last)
    split(batches=1)(new, last)
    return dict(
        images=next(iter(new.train_dataloader))['inputs'].sum().item(),
        distances=[one.tolist() for one in distances_of(split(batches=1), last).values()],
        alive=new.owner.alive['cell'],
    )
