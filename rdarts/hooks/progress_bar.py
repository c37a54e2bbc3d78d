"""A bar on the terminal that says how far a run is."""

from __future__ import annotations

import datetime
import math
from typing import Any

from mmengine.hooks import Hook

from rdarts.engine.facts import Place
from rdarts.registry import HOOKS
from rdarts.utils.terminal import Bar


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Shows epoch, loss and the time to go of a run; of a search that asks, the query and the best.

    Runs register it by themselves, on a terminal: see :func:`rdarts.utils.terminal.has_bar`.
    """

    priority = 'LOWEST'  # what it shows, the others have told by then

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def before_train(self, runner) -> None:
        """See mmengine."""
        if self._bar is None:
            self._bar = Bar([runner.logger])
            self._show(runner, runner.iter)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """See mmengine."""
        self._show(runner, runner.iter + 1)

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """See mmengine."""
        batches = len(runner.val_dataloader)
        self._show(runner, runner.iter, f'validation, batch {batch_idx + 1:,} of {batches:,}')

    def after_query(self, runner) -> None:
        """See :class:`rdarts.sampling.query_search.QuerySearch`."""
        self._show(runner, runner.iter)

    def after_training(self, runner) -> None:
        """However the run ends."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, runner, done: int, note: str | None = None) -> None:
        if self._bar is None:
            return
        budget = getattr(runner, 'budget', None)  # of queries
        total = budget or runner.max_iters or None
        if budget:
            what = f'query {done:,} of {budget:,}'
            best = runner.history.value if done else math.nan
            note = f'best {best:.6g}' if math.isfinite(best) else ''
        else:
            what = f'epoch {min(runner.epoch + 1, runner.max_epochs)} of {runner.max_epochs}'
        name = Place.of(runner).name
        self._bar.show(f'{name}, {what}' if name else what, done, total, note or _numbers(runner))


def _numbers(runner: Any) -> str:
    """The last loss and the time to go, as far as they are known."""
    hub, parts = runner.message_hub, []
    loss = hub.log_scalars.get('train/loss')
    if loss is not None:
        parts.append(f'loss {float(loss.current()):.4g}')
    if 'eta' in hub.runtime_info:
        seconds = datetime.timedelta(seconds=int(hub.get_info('eta')))
        parts.append(f'{seconds} to go')
    return ', '.join(parts)
