"""A checkpoint of which one entry has changed: refused in one line, or the same run goes on."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import digits_runner
from mmengine.hooks import Hook
from torch import Tensor

from rdarts.checkpoint.layout import KEY
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.errors import UserError
from rdarts.hooks import AdaptiveDecayHook, CollapseHook, ConvergenceHook, SearchLogHook
from rdarts.hooks.architect_hook import ArchitectHook

pytestmark = pytest.mark.slow  # thousands of changes

OPTIONS = {
    'default_hooks.checkpoint.iter_interval': 1,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
    'default_hooks.architect.arch_param_scheduler': [dict(type='MultiStepLR', milestones=[3])],
    'custom_hooks': [
        dict(type='rdarts.CollapseHook', eigenvalue=True, iterations=2),
        dict(type='rdarts.ConvergenceHook'),
        dict(type='rdarts.AdaptiveDecayHook', iterations=2),
    ],
}
# Nothing that a run goes on from: values of past log lines, and what tells the layout itself
TAKEN = {(KEY, 'missing'), ('message_hub', 'nan')}
FILES = dict(epoch_end='epoch_1_iter_2.pth', mid_epoch='iter_3.pth')


class _Stop(Exception):
    pass


class StopBeforeTraining(Hook):
    """Ends a run that has been resumed before it takes a step."""

    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        raise _Stop


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('run')
    digits_runner(folder, {**OPTIONS, 'train_cfg.max_epochs': 2}).train()
    return folder


@pytest.fixture(scope='module')
def files(run) -> dict[str, dict]:
    """The checkpoints, before the run is resumed and moves newer ones aside."""
    return {name: read_checkpoint(run / file) for name, file in FILES.items()}


@pytest.fixture(scope='module')
def resumed(run, files) -> Any:
    runner = digits_runner(
        run,
        {**OPTIONS, 'train_cfg.max_epochs': 2},
        hooks=[StopBeforeTraining()],
        resume=str(run / FILES['epoch_end']),
    )
    with pytest.raises(_Stop):
        runner.train()
    return runner


def entries(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The paths of all entries; of long lists and many tensors of a kind the first and last."""
    if path:
        yield path
    keys: list = []
    if isinstance(value, dict):
        keys = list(value)
        if len(keys) > 8 and path and path[-1] in ('state_dict', 'state', 'histories'):
            keys = [*keys[:3], *keys[-3:]]
    elif isinstance(value, (list, tuple)):
        keys = list(range(len(value)))
        if len(keys) > 8:
            keys = [0, len(keys) - 1]
    for key in keys:
        yield from entries(value[key], (*path, key))


MISSING = object()


def changes(value: Any) -> Iterator[tuple[str, Any]]:
    """What an entry may have become: (in words, the value)."""
    yield 'missing', MISSING
    if not isinstance(value, str):
        yield 'a text', 'x'
    yield 'a list', [1]
    yield 'a dict', {'x': 1}
    if value is not None:
        yield 'None', None
    if isinstance(value, bool):
        yield 'a number', 2
    elif isinstance(value, int):
        yield from (('-1', -1), ('huge', 2**70), ('a fraction', value + 0.5), ('nan', math.nan))
    elif isinstance(value, float):
        yield from (('nan', math.nan), ('infinite', math.inf), ('a whole number', 3))
    elif isinstance(value, str):
        yield 'a number', 3
    elif isinstance(value, Tensor):
        yield 'another dtype', value.to(torch.int16 if value.dtype != torch.int16 else torch.int8)
        yield 'complex', value.to(torch.complex64)
        yield 'another shape', torch.cat([value.reshape(-1), value.reshape(-1)[:1]])
        yield 'a number', 3
        yield 'sparse', value.to_sparse() if value.dim() else 3
        if value.is_floating_point() and value.numel():
            yield 'nan', torch.full_like(value, math.nan)
    elif isinstance(value, (list, tuple)):
        yield 'longer', [*value, value[-1] if value else 1]
        if value:
            yield 'shorter', list(value[:-1])
    elif isinstance(value, dict):
        yield 'one more', {**value, 'one_more': 1}
        yield 'one more without a name', {**value, 77: 1}


def changed(checkpoint: dict, path: tuple, value: Any) -> dict | None:
    """A copy with one entry changed; None where it cannot be."""
    result = dict(checkpoint)
    parent: Any = result
    for key in path[:-1]:
        child = parent[key]
        child = list(child) if isinstance(child, tuple) else copy.copy(child)
        parent[key] = child
        parent = child
    if value is not MISSING:
        parent[path[-1]] = value
    elif isinstance(parent, dict):
        del parent[path[-1]]
    else:
        return None  # that is a shorter list
    return result


def state_of(runner) -> dict[str, Any]:
    """All that a resumed run goes on from."""
    hooks = {type(hook): hook for hook in runner.hooks}
    architect = next(hook for hook in runner.hooks if isinstance(hook, ArchitectHook))
    hub = runner.message_hub.state_dict()
    return dict(
        where=(runner.epoch, runner.iter, runner.train_loop.validated),
        model=runner.model.state_dict(),
        optimizer=runner.optim_wrapper.state_dict(),
        schedulers=[s.state_dict() for s in runner.param_schedulers],
        arch=dict(architect._state),
        random=runner.train_loop.random_state,
        log=(hooks[SearchLogHook]._size, hooks[SearchLogHook]._seconds),
        collapse=hooks[CollapseHook].state,
        convergence=hooks[ConvergenceHook].state,
        adaptive_decay=hooks[AdaptiveDecayHook].state,
        info=hub['runtime_info'],
        # what is smoothed for the log
        scalars={key: len(buffer.data[0]) for key, buffer in hub['log_scalars'].items()},
    )


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal to the bit."""
    if isinstance(a, (Tensor, np.ndarray)):
        return type(a) is type(b) and a.dtype == b.dtype and bool((a == b).all())
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def restore(runner, checkpoint: dict, path: Path) -> dict[str, Any]:
    torch.save(checkpoint, path)
    hub = runner.message_hub
    hub._log_scalars.clear()
    hub._runtime_info.clear()
    runner.resume(str(path))
    return copy.deepcopy(state_of(runner))


def refusal(runner, checkpoint: dict) -> str | None:
    """The line with which a checkpoint is refused; None where it is taken."""
    try:
        for hook in runner.hooks:
            hook.after_load_checkpoint(runner, copy.copy(checkpoint))
    except UserError as error:
        return str(error)
    return None


def all_changes(checkpoint: dict) -> Iterator[tuple[tuple, str, dict]]:
    for path in list(entries(checkpoint)):
        value: Any = checkpoint
        for key in path:
            value = value[key]
        for words, new in changes(value):
            bad = changed(checkpoint, path, new)
            if bad is not None:
                yield path, words, bad


@pytest.mark.parametrize('file', FILES)
def test_each_change_of_each_entry(file, files, resumed, tmp_path):
    checkpoint = files[file]
    right = restore(resumed, copy.deepcopy(checkpoint), tmp_path / 'a.pth')
    assert right['where'][:2] == (1, 2 if file == 'epoch_end' else 3)
    count, taken = 0, set()
    for path, words, bad in all_changes(checkpoint):
        count += 1
        line = refusal(resumed, bad)
        if line is None:
            # nothing that the run goes on from
            assert same(restore(resumed, bad, tmp_path / 'a.pth'), right), (path, words)
            taken.add((path[0], words))
        else:
            assert line.startswith('cannot resume') and '\n' not in line, (path, words)
    assert count > 1000
    assert taken <= TAKEN


@pytest.mark.parametrize('file', FILES)
def test_each_change_of_a_checkpoint_that_does_not_tell_its_layout(file, files, resumed):
    checkpoint = {key: value for key, value in files[file].items() if key != KEY}
    for path, words, bad in all_changes(checkpoint):
        line = refusal(resumed, bad)
        if line is not None:
            assert line.startswith('cannot resume') and '\n' not in line, (path, words)
        elif path[0] != 'message_hub' and path[:2] != ('meta', 'dataset_meta'):
            # what another release, or a run without one of the hooks, may have written
            assert words in ('missing', 'None', 'a whole number', 'a list') or (
                path[0] in ('meta', 'collapse') and words.startswith('one more')
            ), (path, words)
