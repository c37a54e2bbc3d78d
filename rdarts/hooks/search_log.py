"""The search's own log: one file over all starts, which later tools read."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any

import mmengine
import mmpretrain
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

import rdarts
from rdarts.configuration import as_data
from rdarts.configuration.declarations import Positive
from rdarts.engine.facts import Facts, Place
from rdarts.engine.search_log import add_row, cut, saved_log, synced_size
from rdarts.models.alpha import AlphaOwner
from rdarts.registry import HOOKS
from rdarts.search_spaces.as_data import to_data
from rdarts.utils import host
from rdarts.utils.machine import cpu_name
from rdarts.visualization.backends import show_epoch

KEEP_ALL = -1  # of a checkpoint that knows of no log


def peak_memory_mb() -> float:
    """Peak memory in MB: of the GPU where there is one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource  # not on Windows
    except ImportError:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def versions() -> dict[str, str]:
    """Versions of what a search runs on."""
    modules = dict(rdarts=rdarts, torch=torch, mmengine=mmengine, mmpretrain=mmpretrain)
    found = {name: module.__version__ for name, module in modules.items()}
    return dict(found, python=platform.python_version())


def machine() -> dict[str, str]:
    """What a search is computed by: rounding, and so a cell of a near tie, depends on it.

    Returns:
        dict[str, str]: ``cpu``, its name; ``instructions``, the vector instructions that PyTorch's
        kernels use on it, such as ``AVX512``; and where there is one ``gpu``, its name.
    """
    found = dict(cpu=cpu_name(), instructions=torch.backends.cpu.get_cpu_capability())
    if torch.cuda.is_available():
        found['gpu'] = torch.cuda.get_device_name()
    return found


@HOOKS.register_module()
class SearchLogHook(Hook):
    """Writes ``search_log.jsonl`` into the work directory.

    Every start of a run appends to the one file; a resumed one first cuts it back to the rows
    that its checkpoint knew. Other hooks add to the rows through
    :class:`~rdarts.engine.facts.Facts`. Keys and units: ``docs/en/search_log.md``.

    Args:
        interval (int): Iterations between two rows. Defaults to 10.
    """

    priority = 'BELOW_NORMAL'  # after what adds to its rows

    def __init__(self, interval: Positive = 10) -> None:
        self.interval = interval
        self._size: int | None = None
        self._started = 0.0
        self._seconds = 0.0

    def before_train(self, runner) -> None:
        place = self._place = Place.of(runner)
        self.path = place.folder / 'search_log.jsonl'
        # as if all earlier starts had been one with this
        self._started = time.perf_counter() - self._seconds
        if not is_main_process():
            return
        if self._size is None:
            self._cut(runner, place.log_bytes)
            self._write_start(runner)
        elif self._size != KEEP_ALL:
            self._cut(runner, self._size)
            if not says_space(self.path) and _searched(runner):
                self._write_start(runner)  # a log of an earlier version, or one that was lost

    def _cut(self, runner, size: int) -> None:
        lacking = cut(self.path, size)
        if lacking:
            runner.logger.warning(
                f'{self.path} is shorter than the checkpoint says ({size - lacking} bytes of '
                f'{size}): earlier rows are lost'
            )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        seconds = time.perf_counter() - self._started
        checkpoint['search_log'] = dict(bytes=synced_size(self.path), seconds=seconds)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner._resume:
            saved = saved_log(checkpoint)
            if saved is None:
                self._size = KEEP_ALL
                return
            self._size, self._seconds = saved['bytes'], saved['seconds']

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        # after the architect of this iteration, which has a higher priority
        self._lr = runner.optim_wrapper.get_lr()['lr'][0]

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        facts = Facts.of(runner)
        row, facts.iteration = facts.iteration, {}
        last = batch_idx + 1 == len(runner.train_dataloader)
        if (batch_idx + 1) % self.interval and not last:
            return
        scalars = runner.message_hub.log_scalars
        values: dict[str, Any] = dict(lr=float(self._lr))
        for key, value in (outputs or {}).items():
            # of one element, whatever the shape
            values[key] = value.reshape(()) if isinstance(value, torch.Tensor) else float(value)
        if 'train/grad_norm' in scalars:
            values['grad_norm'] = float(scalars['train/grad_norm'].current())
        self._write_iteration(runner, runner.iter + 1, values, row)

    def after_alpha_iter(self, runner, index: int, count: int) -> None:
        """Of a pass over alpha's images, rows of its steps at the epoch's last iteration."""
        facts = Facts.of(runner)
        row, facts.iteration = facts.iteration, {}
        if (index + 1) % self.interval == 0 or index + 1 == count:
            self._write_iteration(runner, runner.iter, {}, row)

    def _write_iteration(
        self, runner, iteration: int, values: dict[str, Any], row: dict[str, Any]
    ) -> None:
        """A row of kind ``iter``: what the weights' step gave, and what hooks have told."""
        now = time.perf_counter()
        # here, and not before, the device is waited for
        values, row = host.read([values, row])
        values.update(row)
        values['time'] = round(now - self._started, 3)
        values['memory'] = round(peak_memory_mb(), 1)
        self._write('iter', runner.epoch + 1, iteration, **values)
        step = self._place.iterations_before + iteration
        runner.visualizer.add_scalars(dict(_flat('search', row)), step=step)

    def after_train_epoch(self, runner) -> None:
        facts = Facts.of(runner)
        row, facts.epoch = host.read(facts.epoch), {}
        if 'stopped' in row:
            kept = self._place.epochs_before + row['stopped']['kept_epoch']
            row['stopped'] = dict(row['stopped'], kept_epoch=kept)
        self._write('epoch', runner.epoch + 1, runner.iter, **row)
        step = self._place.iterations_before + runner.iter
        runner.visualizer.add_scalars(dict(_flat('search', row)), step=step)
        if is_main_process():
            owner = _owner(runner)
            space = None if owner is None else owner.space
            show_epoch(runner.visualizer, row, facts.derive, space, step)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        if not hasattr(self, 'path'):
            return
        values = {key: float(value) for key, value in (metrics or {}).items()}
        self._write('val', runner.epoch, runner.iter, **values)

    def after_decision(self, runner, decided: int, row: dict[str, Any]) -> None:
        """A decision of a selection, which comes between two epochs."""
        self._write('selection', runner.epoch, runner.iter, decided=decided, **row)

    def after_roll_back(self, runner, left_epoch: int, **told: Any) -> None:
        """The rows stay, those that the run has gone back on too; this one says so."""
        left_epoch += self._place.epochs_before
        self._write('roll_back', runner.epoch, runner.iter, left_epoch=left_epoch, **told)

    def _write_start(self, runner) -> None:
        """What is shown of a search is made of this row, never of a config that would be run."""
        known = _searched(runner)
        told = dict(versions=versions(), machine=machine(), **known)
        self._write('start', 0, 0, seed=runner.seed, **told)

    def _write(self, kind: str, epoch: int, iteration: int, **values: Any) -> None:
        """Add a row to the log, on the first rank; epoch and iteration are those of this run."""
        if is_main_process():
            add_row(self.path, self._place, kind, epoch, iteration, **values)


def _owner(runner) -> AlphaOwner | None:
    return next((m for m in runner.model.modules() if isinstance(m, AlphaOwner)), None)


def _searched(runner) -> dict[str, Any]:
    """The space and the relaxation of a search, as data; nothing of another run."""
    owner = _owner(runner)
    if owner is None:
        return {}
    space = as_data.as_data(to_data(owner.space))
    return dict(space=space, relaxation=type(owner.relaxation).__name__)


def says_space(path: Path) -> bool:
    """Whether a log has a row of kind ``start`` that says what is searched."""
    if not path.is_file():
        return False
    with open(path, encoding='utf-8', errors='replace') as lines:
        for line in lines:
            if '"kind": "start"' in line and '"space": {' in line:
                return True
    return False


def _flat(prefix: str, value: Any):
    """(path, number) for every number of a nested row."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f'{prefix}/{key}', item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield prefix, value
