"""The end of a search whose time is over."""

from __future__ import annotations

import time
from typing import Any

import torch
from mmengine.dist import is_main_process

from rdarts.checkpoint.schema import Maybe, Number, Table, Whole
from rdarts.configuration.declarations import AboveZero, check_arguments
from rdarts.engine.facts import Facts, Place
from rdarts.engine.search_log import saved_log, seconds_before
from rdarts.engine.stop_signals import agreed
from rdarts.hooks.watchers.base import Watcher
from rdarts.registry import HOOKS
from rdarts.results.row import TIME_LIMIT
from rdarts.utils.wording import plural


@HOOKS.register_module()
class TimeLimitHook(Watcher):
    """Ends a run after the epoch in which its time is over, with what is found then.

    The time is that of the run from its first iteration on, validations and checkpoints included,
    and over all its starts: one that is resumed goes on counting from its checkpoint. Of a search
    in phases it is that of all phases together, of earlier ones up to their last iterations; once
    it is over, each phase that is left has one epoch. Of several ranks the first one's time counts,
    which checkpoints have. The key ``max_seconds`` of a config sets this hook.

    Args:
        seconds (float): How long.

    Raises:
        UserError: It is no number above 0.
    """

    key = TIME_LIMIT
    spec = Table(dict(seconds=Number(0), stopped=Maybe(Whole(1))))

    def __init__(self, seconds: AboveZero) -> None:
        check_arguments(self, seconds=seconds)
        self.limit = seconds
        self.state: dict[str, Any] = dict(seconds=0.0, stopped=None)
        self._begin = 0.0
        self._before: float | None = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        super().after_load_checkpoint(runner, checkpoint)
        if runner._resume and self.key not in checkpoint:  # of a run without a limit
            saved = saved_log(checkpoint)
            self.state['seconds'] = 0.0 if saved is None else saved['seconds']

    def before_train(self, runner) -> None:
        self._begin = time.perf_counter() - self.state['seconds']
        if self.state['stopped'] is None:
            return
        if self._is_over(runner):
            runner.train_loop.stop_training = True  # a search that had ended is resumed
        else:
            self.state['stopped'] = None  # its limit is a larger one now

    def before_train_epoch(self, runner) -> None:
        """It needs no genotype: a supernet may be trained that derives none."""

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        self.state['seconds'] = time.perf_counter() - self._begin
        super().before_save_checkpoint(runner, checkpoint)

    def after_train_epoch(self, runner) -> None:
        epoch, last = runner.epoch + 1, runner.train_loop.max_epochs
        if epoch == last or 'stopped' in Facts.of(runner).epoch or not self._is_over(runner):
            return
        runner.logger.info(
            f'max_seconds={self.limit:g} are over: the search ends after {plural(epoch, "epoch")} '
            f'of {last}'
        )
        self.state['stopped'] = epoch
        self.end(runner, epoch)

    def _is_over(self, runner) -> bool:
        """Whether it is on the first rank; every rank asks."""
        over = False
        if is_main_process():
            if self._before is None:  # the log is cut back to this run by now
                self._before = seconds_before(Place.of(runner))
            over = self._before + time.perf_counter() - self._begin >= self.limit
        return bool(agreed(torch.tensor(int(over))))
