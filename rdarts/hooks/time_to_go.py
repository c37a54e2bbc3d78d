"""How long a search still takes."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

from rdarts.engine.facts import Place
from rdarts.engine.progress import RunPlan, TimeToGo, batch_size
from rdarts.registry import HOOKS


@HOOKS.register_module()
class TimeToGoHook(Hook):
    """Corrects the ``eta`` of mmengine's log line.

    mmengine's own leaves out validations and what happens between epochs. In a search in phases, it
    counts to the end of the last one: each of its later epochs as long as those of this phase.
    """

    # as mmengine's timer, which comes before and is corrected; its logger prints after these
    priority = 'NORMAL'

    def __init__(self) -> None:
        self._to_go: TimeToGo | None = None

    def before_train(self, runner) -> None:
        self._to_go = _time_to_go(runner)

    def before_train_epoch(self, runner) -> None:
        if self._to_go is not None:
            self._to_go.epoch_begins()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self._to_go is None:
            return
        self._to_go.iteration_ends()
        later = Place.of(runner).epochs_after
        seconds = self._to_go.seconds(runner.iter + 1, later)
        if seconds is not None:
            runner.message_hub.update_info('eta', seconds)

    def after_train_epoch(self, runner) -> None:
        if self._to_go is not None:
            self._to_go.epoch_ends()

    def before_val_epoch(self, runner) -> None:
        if self._to_go is not None:
            self._to_go.validation_begins()

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        if self._to_go is not None:
            self._to_go.validation_ends()


def _time_to_go(runner) -> TimeToGo | None:
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        return None
    share = 1.0
    if runner.val_loop is not None:
        share = batch_size(runner.val_loop.dataloader) / batch_size(runner.train_loop.dataloader)
    return TimeToGo(RunPlan.of(runner), share)
