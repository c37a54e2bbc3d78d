"""How long a run takes, from the rates that were measured so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Of an iteration, for the same images: two forward passes, the backward pass of the one for inputs
# alone, of the other for inputs and weights, against one forward pass.
VALIDATION_COST = 1 / 5


@dataclass(frozen=True)
class RunPlan:
    """What a run consists of.

    Args:
        epochs (int): Epochs.
        iterations (int): Iterations an epoch.
        val_batches (int): Batches of a validation. Defaults to 0, no validation.
        val_interval (int): Epochs between two validations. Defaults to 1.
        val_begin (int): The first epoch, counted from 1, that may be validated. Defaults to 1.
    """

    epochs: int
    iterations: int
    val_batches: int = 0
    val_interval: int = 1
    val_begin: int = 1

    @classmethod
    def of(cls, runner) -> RunPlan:
        """The plan of an mmengine runner whose loops are built."""
        loop, val_loop = runner.train_loop, runner.val_loop
        return cls(
            epochs=runner.max_epochs,
            iterations=len(loop.dataloader),
            val_batches=0 if val_loop is None else len(val_loop.dataloader),
            val_interval=loop.val_interval,
            val_begin=loop.val_begin,
        )

    def validations(self, done_epochs: int = 0) -> int:
        """Validations that are left after some epochs; the last epoch always has one."""
        if not self.val_batches:
            return 0
        first = max(done_epochs + 1, self.val_begin)
        count = max(0, self.epochs // self.val_interval - (first - 1) // self.val_interval)
        extra = self.epochs % self.val_interval != 0 and self.epochs >= first
        return count + extra

    def seconds(
        self, iteration: float, validation: float = 0.0, epoch_end: float = 0.0, done: int = 0
    ) -> float:
        """Seconds that are left.

        Args:
            iteration (float): Seconds of an iteration, images included.
            validation (float): Seconds of a validation. Defaults to 0.
            epoch_end (float): Seconds between an epoch's last iteration and the next epoch, less
                the validation: checkpoints, hooks. Defaults to 0.
            done (int): Iterations that are done. An epoch that is full counts as one whose end
                and validation are still to come. Defaults to 0.
        """
        ended = max(0, done - 1) // self.iterations
        return (
            (self.epochs * self.iterations - done) * iteration
            + self.validations(ended) * validation
            + (self.epochs - ended) * epoch_end
        )


class TimeToGo:
    """Measures a run while it goes, and predicts how long it still takes.

    The events must be told in the order in which they happen. The first iteration of the process
    does not count: it warms up.

    Args:
        plan (RunPlan): The run.
        val_images (float): Images of a validation batch over those of a training batch, for the
            guess before the first validation. Defaults to 1.
        clock (Callable): Seconds. Defaults to ``time.perf_counter``.
    """

    def __init__(
        self,
        plan: RunPlan,
        val_images: float = 1.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.plan = plan
        self.val_images = val_images
        self._clock = clock
        self._mark: float | None = None
        self._warm = False
        self._total = dict(iteration=0.0, validation=0.0, epoch_end=0.0)
        self._count = dict(iteration=0, validation=0, epoch_end=0)

    def _lap(self) -> float:
        now = self._clock()
        seconds = 0.0 if self._mark is None else now - self._mark
        self._mark = now
        return seconds

    def epoch_begins(self) -> None:
        """Before an epoch's data loader starts."""
        self._total['epoch_end'] += self._lap()

    def iteration_ends(self) -> None:
        """After an iteration."""
        seconds = self._lap()
        if self._warm:
            self._total['iteration'] += seconds
            self._count['iteration'] += 1
        self._warm = True

    def epoch_ends(self) -> None:
        """After an epoch's last iteration."""
        self._count['epoch_end'] += 1

    def validation_begins(self) -> None:
        """Before a validation."""
        self._total['epoch_end'] += self._lap()

    def validation_ends(self) -> None:
        """After a validation."""
        self._total['validation'] += self._lap()
        self._count['validation'] += 1

    def _mean(self, kind: str) -> float | None:
        return self._total[kind] / self._count[kind] if self._count[kind] else None

    def seconds(self, done: int, later: int = 0) -> float | None:
        """Seconds that are left after ``done`` iterations; None before the second.

        Args:
            done (int): Iterations of this run.
            later (int): Epochs of runs that follow, each as long as one of this run.
        """
        iteration = self._mean('iteration')
        if iteration is None:
            return None
        validation = self._mean('validation')
        if validation is None:
            cost = VALIDATION_COST * self.val_images
            validation = self.plan.val_batches * cost * iteration
        epoch_end = self._mean('epoch_end') or 0.0
        rest = self.plan.seconds(iteration, validation, epoch_end, done)
        if later:
            rest += self.plan.seconds(iteration, validation, epoch_end) * later / self.plan.epochs
        return rest


def batch_size(dataloader: Any) -> int:
    """Images of a batch of a data loader."""
    return dataloader.batch_size or dataloader.batch_sampler.batch_size
