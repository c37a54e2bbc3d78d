"""One process of the test of splits on several ranks, importable by a process of its own."""

from __future__ import annotations

import os
from typing import Any

import torch
from test_architect.test_split_by_gradient import GATES, beginning, distances_of, ended, split


def split_worker(queue: Any, env: dict[str, str]) -> None:
    """What a rank splits, from its own half of the images."""
    os.environ.update(env)
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo')
    last = ended(relaxation=GATES)
    new = beginning(last)
    split(batches=1)(new, last)
    found = dict(
        images=next(iter(new.train_dataloader))['inputs'].sum().item(),
        distances=[one.tolist() for one in distances_of(split(batches=1), last).values()],
        alive=new.owner.alive['cell'],
    )
    queue.put((int(env['RANK']), found))
    torch.distributed.destroy_process_group()
