"""Snapshots of a run, and its way back to one: what training changes is as it was there.

A snapshot is a checkpoint, so a run goes on from it exactly as a resumed one would: weights and
buffers, alpha and masks, all optimizers and schedulers, random states, epoch and iteration, and the
state of each hook that has one. What was logged stays logged.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.hooks import IterTimerHook
from mmengine.runner import Runner

from rdarts.engine.checkpoint_hook import AtomicCheckpointHook
from rdarts.engine.loops import SearchTrainLoop
from rdarts.errors import UserError


def checkpoint_hook_of(runner: Runner, who: str) -> AtomicCheckpointHook:
    """The hook that writes a run's checkpoints, and so its snapshots.

    Args:
        runner (Runner): The runner; its training loop is built.
        who (str): What needs snapshots, for the error.

    Raises:
        UserError: The run has another hook or loop, which cannot be rolled back.
    """
    hook = next((hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)), None)
    if hook is None:
        raise UserError(f'{who} needs default_hooks.checkpoint.type=rdarts.AtomicCheckpointHook')
    if not isinstance(runner.train_loop, SearchTrainLoop):
        raise UserError(f'{who} needs train_cfg.type=rdarts.SearchTrainLoop')
    return hook


def roll_back(
    runner: Runner, path: Path, who: str, change: Callable[[], None], **told: Any
) -> None:
    """Go back to a snapshot. Every rank calls it, in ``between_epochs`` of a hook.

    Hooks that keep what a checkpoint holds have their ``after_load_checkpoint``, as in a run that
    is resumed; then those that have an ``after_roll_back(runner, left_epoch, **told)``.

    Args:
        runner (Runner): The runner, between two epochs.
        path (Path): The snapshot.
        who (str): What rolls back, for messages.
        change (Callable): Called once all is as it was, for what is to be otherwise from now on.
        **told: For the log.

    Raises:
        UserError: The snapshot is missing, damaged or of another run.
    """
    hook, loop = checkpoint_hook_of(runner, who), runner.train_loop
    left_epoch, left, resumed = runner.epoch, runner.iter, runner._resume
    runner._resume = True  # what hooks ask before they take the state of a checkpoint
    try:
        checkpoint = runner.load_checkpoint(str(path))
    finally:
        runner._resume = resumed
    loop.go_to(checkpoint['meta']['epoch'], checkpoint['meta']['iter'])
    loop.restore_random_state()
    hook.restore_buffers(runner)
    wrapper = runner.optim_wrapper
    wrapper.load_state_dict(checkpoint['optimizer'])
    wrapper.initialize_count_status(runner.model, loop.iter, loop.max_iters)
    saved = checkpoint.get('param_schedulers', [])
    for scheduler, state in zip(runner.param_schedulers or [], saved, strict=True):
        scheduler.load_state_dict(state)
    for timer in (one for one in runner.hooks if isinstance(one, IterTimerHook)):
        timer.start_iter += loop.iter - left  # it divides by the iterations since then
    change()
    runner.logger.warning(
        f'{who} rolls the run back: it goes on after epoch {runner.epoch}, not {left_epoch}'
    )
    runner.call_hook('after_roll_back', left_epoch=left_epoch, **told)
