"""One process of the tests of methods over ranks, importable by a process of its own."""

from __future__ import annotations

import datetime
import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from helpers import digits_runner
from mmengine.hooks import Hook
from quick_runs import read_once, sync_nothing, write_configs_as_they_come

from rdarts.cli import OF_CPU_RANKS
from rdarts.models import find_alpha_owner
from rdarts.utils.wrapped import unwrapped

IMAGES, BATCH = 32, 8  # two iterations an epoch, of 8 images on all ranks together
OPTIONS = {
    'model.backbone.channels': 4,
    'model.backbone.alpha_std': 0.5,
    'model.head.in_channels': 16,
    'train_cfg.max_epochs': 2,
    'default_hooks.architect.start_epoch': 0,
    'default_hooks.checkpoint.interval': 9,  # none is saved
    'default_hooks.checkpoint.save_last': False,
    'default_hooks.report': None,
}
# of single methods: a pass after either epoch, with batch norms that can be frozen
OF = dict(
    is_darts={
        'default_hooks.architect.architect.shrink_epochs': [1, 2],
        'model.backbone.track_running_stats': True,
    }
)


class Record(Hook):
    """Freezes batch norms in the first epoch; notes what all ranks must have before and after."""

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        for module in runner.model.modules():
            if 'BatchNorm' in type(module).__name__:
                module.train(runner.epoch > 0)

    def before_train_epoch(self, runner) -> None:
        self.note(runner)

    def after_train(self, runner) -> None:
        self.note(runner)

    def note(self, runner) -> None:
        """Weights, alpha, masks, and the state of both optimizers."""
        model = unwrapped(runner.model)
        state = {
            name: value.clone()
            for name, value in model.state_dict().items()
            if 'running_' not in name and 'num_batches' not in name
        }
        optimizers = dict(weights=runner.optim_wrapper.optimizer)
        hook = next(hook for hook in runner.hooks if hasattr(hook, 'architect'))
        optimizers['alpha'] = hook.architect.optimizer
        for name, optimizer in optimizers.items():
            for index, found in optimizer.state_dict()['state'].items():
                for key, value in found.items():
                    if isinstance(value, torch.Tensor):
                        state[f'{name}.{index}.{key}'] = value.clone()
        self.seen.append(dict(state=state, alive=find_alpha_owner(model).alive))


def search(method: str, work_dir: Path, world_size: int) -> list[dict[str, Any]]:
    """Two epochs of two iterations in float64: what there is at the start, and after each."""
    hook, several = Record(), {}
    if world_size > 1:  # as tools/train.py joins a group
        several = dict(launcher='pytorch', model_wrapper_cfg=dict(OF_CPU_RANKS))
    runner = digits_runner(
        work_dir,
        {**OPTIONS, **OF.get(method, {})},
        IMAGES,
        [hook],
        config=f'{method}_nb201_digits',
        batch_size=BATCH // world_size,
        # a gradient that is 0 but for rounding is a step of Adam's
        arch_optimizer=dict(type='SGD', lr=1.0),
        **several,
    )
    unwrapped(runner.model).data_preprocessor.register_forward_hook(
        lambda module, args, out: dict(out, inputs=out['inputs'].double())
    )
    runner.train()
    return hook.seen


def ranks_worker(queue: Any, env: dict[str, str], names: Sequence[str], folder: Path) -> None:
    """Search with each method in turn; tells what went wrong."""
    os.environ.update(env)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    write_configs_as_they_come()
    sync_nothing()
    read_once()
    rank, world_size = int(env['RANK']), int(env['WORLD_SIZE'])
    if world_size > 1:
        torch.distributed.init_process_group('gloo', timeout=datetime.timedelta(seconds=60))
    failed = []
    for name in names:
        try:
            found = search(name, folder / f'{name}_{world_size}', world_size)
            torch.save(found, folder / f'{name}_{world_size}_{rank}.pt')
        except Exception:
            failed.append(f'{name}, rank {rank} of {world_size}: {traceback.format_exc()}')
    queue.put(failed)
