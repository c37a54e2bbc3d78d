"""What of a config changed since a run was last started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# What a run computes follows from these keys, but for the entries below
KEYS = (
    'model', 'data_preprocessor', 'train_dataloader', 'arch_dataloader', 'val_dataloader',
    'train_cfg', 'optim_wrapper', 'arch_optimizer', 'param_scheduler', 'default_hooks',
    'custom_hooks', 'randomness', 'compile',
)  # fmt: skip
# Of what has a runner of its own, which asks, these too
ASKED_BY = ('strategy', 'evaluator', 'budget', 'limits', 'supernet')
WITHOUT = {'num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'image_cache'}
# What a checkpoint holds, and a resumed run takes from it whatever the config says
FROM_CHECKPOINT = (
    'optim_wrapper.optimizer', 'optim_wrapper.paramwise_cfg', 'param_scheduler', 'arch_optimizer',
    'default_hooks.architect.arch_optimizer', 'default_hooks.architect.arch_param_scheduler',
)  # fmt: skip
HOOKS_WITHOUT = frozenset((
    'timer', 'time_to_go', 'logger', 'checkpoint', 'report', 'search_log', 'visualization',
))  # fmt: skip


def changes(before: Mapping[str, Any], now: Mapping[str, Any], resumes: bool = True) -> list[str]:
    """Lines such as ``default_hooks.architect.lambda_ 0.75 -> 0.5``.

    Those of optimizers and schedules say that they have no effect: the checkpoint's go on.

    Args:
        before, now (dict): Two configs as data (:func:`rdarts.configuration.as_data.as_data`).
        resumes (bool): Whether a run goes on from a checkpoint, so that some have no effect.
            Defaults to True.
    """
    kept = FROM_CHECKPOINT if resumes else ()
    keys = (*KEYS, *ASKED_BY) if now.get('runner_type') is not None else KEYS
    return [line for key in keys for line in _changes(before.get(key), now.get(key), key, kept)]


def _changes(before: Any, now: Any, path: str, from_checkpoint: Sequence[str]) -> Iterator[str]:
    if before == now:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        without = HOOKS_WITHOUT if path == 'default_hooks' else WITHOUT
        for key in dict.fromkeys([*before, *now]):
            if key not in without:
                inner = f'{path}.{key}'
                yield from _changes(before.get(key), now.get(key), inner, from_checkpoint)
        return
    kept = any(f'{path}.'.startswith(f'{key}.') for key in from_checkpoint)
    effect = ' (no effect: the one of the checkpoint goes on)' if kept else ''
    yield f'{path} {_short(before)} -> {_short(now)}{effect}'


def _short(value: Any, most: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= most else f'{text[: most - 3]}...'
