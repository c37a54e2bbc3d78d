"""More weight decay where the eigenvalue grows: DARTS-ADA of RobustDARTS."""

from __future__ import annotations

import math
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt
from mmengine.dist import broadcast_object_list, is_main_process

from rdarts.architect.hessian import Eigenvalue
from rdarts.checkpoint.schema import (
    EntryError,
    Items,
    Maybe,
    Number,
    Spec,
    Table,
    Whole,
    check_entry,
)
from rdarts.configuration.declarations import AboveZero, Positive
from rdarts.engine.facts import Facts
from rdarts.engine.roll_back import checkpoint_hook_of, roll_back
from rdarts.errors import UserError
from rdarts.hooks.watchers.base import Watcher
from rdarts.hooks.watchers.eigenvalue import (
    EigenvalueRule,
    alpha_decay,
    check_counts,
    measure,
    require_architect,
)
from rdarts.registry import HOOKS
from rdarts.utils.wording import plural

FOLDER = 'snapshots'
ROUNDING = 1e-9  # of products of the weight decay, relative


@HOOKS.register_module()
class AdaptiveDecayHook(Watcher):
    """Takes a search back before it collapses, and on with more weight decay (DARTS-ADA).

    Where the largest eigenvalue of the Hessian of L_val in alpha has grown, as
    :class:`~rdarts.hooks.watchers.eigenvalue.EigenvalueRule` says, the search goes back to the
    end of the epoch that the rule names (https://arxiv.org/abs/1909.09656). From there it goes on
    with ``times`` the weight decay of the weights, and judges what it measures from then on. Once
    the weight decay would be more than ``most``, the eigenvalue is only measured: the search goes
    on to its last epoch, whose genotype it finds.

    What it goes back to is the whole state of the run: weights and batch norms, alpha and masks,
    all optimizers and schedulers, random states; so the cosine of the learning rate is where it
    was, as the published code steps a new one to that epoch. Snapshots of the epochs that may be
    gone back to are in ``snapshots/`` beside the checkpoints, six at most by default; what is no
    longer needed is deleted. The epochs come again with the images that they had.

    Differences from the published code: its test of the last weight decay compares logarithms,
    rounded to one digit, which is the same for 3e-4, ten times and .03, but lets others (9e-4)
    grow past every limit; it means to begin a new window of measurements at each roll back, but
    goes on with the old one; in the epochs that come again it draws other images.

    Args:
        times (float): By what the weight decay grows, above 1. Defaults to 10.
        most (float): The largest weight decay. Defaults to .03.
        window (int): Measurements of a local average. Defaults to 5.
        factor (float): Growth of the eigenvalue that is a sign. Defaults to 1.3.
        delta (int): Measurements over which it grows. Defaults to 4.
        start_epoch (int): First epoch, counted from 1, that may be gone back to. Defaults to 11,
            which RobustDARTS counts as 10.
        measure_interval (int): Epochs between two measurements, of which the first epoch has one.
            Defaults to 2, as in the scripts.
        iterations (int): Hessian products of a measurement at most. Defaults to 100.

    Raises:
        UserError: An argument is out of its range.
    """

    key = 'adaptive_decay'
    spec = Table(
        dict(
            # of the epochs from 1 on; None where there is none
            eigenvalues=Items(Maybe(Number())),
            roll_backs=Whole(),
            since=Whole(),  # no epoch up to this one is gone back to
            back_to=Maybe(Whole(1)),  # the one that is gone back to before the next epoch
        )
    )

    def __init__(
        self,
        times: Annotated[float, Gt(1)] = 10.0,
        most: AboveZero = 0.03,
        window: Positive = 5,
        factor: AboveZero = 1.3,
        delta: Positive = 4,
        start_epoch: Positive = 11,
        measure_interval: Positive = 2,
        iterations: Positive = 100,
    ) -> None:
        who = type(self).__name__
        for name, value, least in (('times', times, 1), ('most', most, 0)):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not least < value < math.inf:
                raise UserError(f'{who}: {name} must be a number above {least}, but is {value!r}')
        check_counts(who, iterations=iterations)
        self.rule = EigenvalueRule(window, factor, delta, start_epoch, measure_interval, who)
        self.times, self.most, self.iterations = times, most, iterations
        self.state: dict[str, Any] = dict(eigenvalues=[], roll_backs=0, since=0, back_to=None)

    def is_final(self, decay: float) -> bool:
        """Whether a weight decay grows no more."""
        return decay * self.times > self.most * (1 + ROUNDING)

    # Around a run

    def before_train(self, runner) -> None:
        self._saver = checkpoint_hook_of(runner, type(self).__name__)
        if not _decay(runner) > 0:
            raise UserError(
                'AdaptiveDecayHook multiplies the weight decay of the weights, which is 0: set '
                'optim_wrapper.optimizer.weight_decay above 0'
            )
        values = self.state['eigenvalues']
        values += [None] * (runner.epoch - len(values))  # of a search that did not have this hook
        self._fetch(runner)

    def before_train_epoch(self, runner) -> None:
        require_architect(runner, type(self).__name__)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        super().after_load_checkpoint(runner, checkpoint)
        if not runner._resume or self.key not in checkpoint:
            return
        check_entry(checkpoint.get('meta'), Table(dict(epoch=Whole()), others=Spec()), 'meta')
        back_to, known = self.state['back_to'], len(self.state['eigenvalues'])
        if known != checkpoint['meta']['epoch']:
            epochs = plural(checkpoint['meta']['epoch'], 'epoch')
            raise EntryError(f'{self.key}.eigenvalues', f'has {known}, but {epochs} are done')
        if back_to is not None and not self.state['since'] < back_to <= known:
            raise EntryError(f'{self.key}.back_to', f'is {back_to}, an epoch of no measurement')

    def after_train(self, runner) -> None:
        self._delete_but(runner, [])

    # The epochs

    def after_train_epoch(self, runner) -> None:
        epoch, decay = runner.epoch + 1, _decay(runner)
        row: dict[str, Any] = dict(weight_decay=decay)
        value = None
        if self.rule.is_measured(epoch) or epoch == runner.max_epochs:
            value = self._measure(runner, epoch)
        if value is not None:
            row.update(eigenvalue=float(value), eigenvalue_converged=value.converged)
        Facts.of(runner).epoch[self.key] = row
        known = value is not None and math.isfinite(value)
        self.state['eigenvalues'].append(float(value) if known else None)
        if self.is_final(decay):
            return
        shift = alpha_decay(Facts.of(runner).architect)
        growth = self.rule.judge(self.state['eigenvalues'], epoch, runner.max_epochs, shift)
        if growth is not None:
            self.state['back_to'] = growth.epoch
            runner.logger.warning(
                f'Sign of collapse: the largest eigenvalue has grown {growth.ratio:.2f} times; the '
                f'search goes back to epoch {growth.epoch}, and on with weight decay '
                f'{decay * self.times:g}'
            )

    def _measure(self, runner, epoch: int) -> Eigenvalue | None:
        """The eigenvalue of an epoch, or None where there is no batch to take it on."""
        return measure(runner, epoch, self.iterations)

    def between_epochs(self, runner) -> None:
        """Go back where that is due; else save what may be gone back to."""
        if not _is_between(runner):
            return
        if self.state['back_to'] is not None:
            self._go_back(runner, self.state['back_to'])
        wanted = self._wanted(runner)
        if runner.epoch in wanted and not self._saver.dry_run:
            self._saver.write(runner, self._path(runner, runner.epoch), runner.epoch, runner.iter)
        self._delete_but(runner, wanted)

    def _go_back(self, runner, epoch: int) -> None:
        decay, count = _decay(runner) * self.times, self.state['roll_backs'] + 1

        def change() -> None:
            for group in runner.optim_wrapper.optimizer.param_groups:
                group['weight_decay'] *= self.times
            values = [None] * epoch
            self.state = dict(eigenvalues=values, roll_backs=count, since=epoch, back_to=None)

        path = self._path(runner, epoch)
        roll_back(runner, path, type(self).__name__, change, by=self.key, weight_decay=decay)

    # Snapshots

    def _wanted(self, runner) -> list[int]:
        """The epochs, of those that have ended, that the search may still be taken back to."""
        if self.state['back_to'] is not None:
            return [self.state['back_to']]
        if self.is_final(_decay(runner)):
            return []
        begin = max(self.rule.start_epoch, self.state['since'] + 1)
        return [
            epoch
            for epoch in range(begin, runner.epoch + 1)
            if self.rule.is_measured(epoch)
            and runner.epoch < epoch + self.rule.way < runner.max_epochs
        ]

    def _path(self, runner, epoch: int) -> Path:
        """The snapshot of an epoch as it was after so many roll backs."""
        folder = Path(self._saver.out_dir or runner.work_dir, FOLDER)
        return folder / f'epoch_{epoch}_roll_backs_{self.state["roll_backs"]}.pth'

    def _delete_but(self, runner, wanted: list[int]) -> None:
        if not is_main_process():
            return
        names = {self._path(runner, epoch).name for epoch in wanted}
        folder = self._path(runner, 0).parent
        for path in [*folder.glob('epoch_*.pth'), *folder.glob('.epoch_*.pth.tmp')]:
            if path.name not in names:
                path.unlink()
        with suppress(OSError):  # it is not empty, or not there
            folder.rmdir()

    def _fetch(self, runner) -> None:
        """Find the snapshots of a run that is resumed, from a file elsewhere also beside that.

        Raises:
            UserError: The run is about to go back to one that is missing.
        """
        wanted = self._wanted(runner)
        if _is_between(runner) and self.state['back_to'] is None:
            wanted = [epoch for epoch in wanted if epoch != runner.epoch]  # that is still to come
        missing: list[int] = []
        if is_main_process():
            for epoch in wanted:
                path = self._path(runner, epoch)
                other = Path(runner.cfg.get('load_from') or '.').parent / FOLDER / path.name
                if not path.is_file() and other.is_file():
                    path.parent.mkdir(exist_ok=True)
                    shutil.copyfile(other, path.with_name(f'.{path.name}.tmp'))
                    path.with_name(f'.{path.name}.tmp').replace(path)
                if not path.is_file():
                    missing.append(epoch)
        found = [missing]
        broadcast_object_list(found)
        if not found[0]:
            return
        epoch = max(found[0])
        path = self._path(runner, epoch)
        if self.state['back_to'] is not None:
            raise UserError(
                f'cannot resume: the search was about to go back to epoch {epoch}, but its '
                f'snapshot {path} is missing; resume from an earlier checkpoint'
            )
        values = self.state['eigenvalues']
        values[:epoch] = [None] * epoch
        runner.logger.warning(
            f'There is no snapshot {path}: the search cannot go back to epoch {epoch} or before, '
            'whose eigenvalues are left out'
        )
        self.state['since'] = epoch


def _decay(runner) -> float:
    """The weight decay of the weights; the largest, where groups of them have their own."""
    groups = runner.optim_wrapper.optimizer.param_groups
    return max(group.get('weight_decay', 0.0) for group in groups)


def _is_between(runner) -> bool:
    """Whether no iteration of an epoch is done whose others are not."""
    return runner.iter == runner.epoch * len(runner.train_dataloader)
