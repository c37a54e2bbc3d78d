"""Growth of the largest eigenvalue of the Hessian of L_val in alpha, as RobustDARTS judges it.

Zela et al., ICLR 2020, https://arxiv.org/abs/1909.09656. Epochs are counted from 1 here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dist import broadcast_object_list

from rdarts.architect.architect import Architect
from rdarts.architect.gradients import average
from rdarts.architect.hessian import Eigenvalue, largest_eigenvalue
from rdarts.engine.facts import Facts
from rdarts.errors import UserError
from rdarts.utils.random_state import preserve_random_state


class Growth(NamedTuple):
    """Growth that is a sign of a collapse.

    Args:
        ratio (float): Of the local average to the one before.
        epoch (int): The epoch of which the one before is the average, from which RobustDARTS
            takes what it keeps.
    """

    ratio: float
    epoch: int


class EigenvalueRule:
    """When the eigenvalue has grown, by local averages of what was measured.

    A local average is the mean over ``window`` measurements, whose middle one is its epoch: the
    newest is of ``window // 2`` measurements ago. It has grown where it exceeds ``factor`` times
    the one of ``delta`` measurements before. That one's epoch, ``window // 2 + delta``
    measurements ago, is what RobustDARTS goes back to, unless it is before ``start_epoch``. The
    search's last epoch is not judged.

    Args:
        window (int): Measurements of a local average.
        factor (float): Growth that is a sign.
        delta (int): Measurements over which it grows.
        start_epoch (int): First epoch to which one may go back.
        interval (int): Epochs between two measurements, of which the first epoch has one.
        who (str): What it is an argument of, for errors.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(
        self, window: int, factor: float, delta: int, start_epoch: int, interval: int, who: str
    ) -> None:
        check_counts(
            who, window=window, delta=delta, start_epoch=start_epoch, measure_interval=interval
        )
        if not isinstance(factor, (int, float)) or isinstance(factor, bool) or not factor > 0:
            raise UserError(f'{who}: factor must be a positive number, but is {factor!r}')
        self.window, self.factor, self.delta = window, factor, delta
        self.start_epoch, self.interval = start_epoch, interval

    def is_measured(self, epoch: int) -> bool:
        """Whether an epoch has a measurement by which it is judged."""
        return (epoch - 1) % self.interval == 0

    @property
    def way(self) -> int:
        """Epochs between the one in which growth is seen, and the one that it goes back to."""
        return self.interval * (self.window // 2 + self.delta)

    def judge(
        self, values: Sequence[float | None], epoch: int, last: int, shift: float = 0.0
    ) -> Growth | None:
        """Whether the eigenvalue has grown.

        Args:
            values (Sequence[float | None]): Of the epochs from 1 to this one; None where none is
                known.
            epoch (int): This epoch.
            last (int): The last epoch of the search.
            shift (float): What is added to each: alpha's weight decay, which the Hessian of
                RobustDARTS has on its diagonal. Defaults to 0.
        """
        kept = epoch - self.way
        if not self.is_measured(epoch) or kept < self.start_epoch or epoch == last:
            return None
        now = self._local_average(values, epoch)
        before = self._local_average(values, epoch - self.interval * self.delta)
        if now is None or before is None:
            return None
        # a ratio to a curvature that is not positive says nothing
        if before + shift <= 0 or (now + shift) / (before + shift) <= self.factor:
            return None
        return Growth((now + shift) / (before + shift), kept)

    def _local_average(self, values: Sequence[float | None], last: int) -> float | None:
        """The mean over the window that ends with an epoch, more than half of which is known."""
        epochs = range(last, 0, -self.interval)[: self.window]
        known = [value for epoch in epochs if (value := values[epoch - 1]) is not None]
        return sum(known) / len(known) if len(known) > self.window // 2 else None


def check_counts(who: str, least: int = 1, **given: Any) -> None:
    """Counts must be whole numbers.

    Args:
        who (str): What they are arguments of.
        least (int): The least that they may be. Defaults to 1.
        **given: The counts by name.

    Raises:
        UserError: One of them is not.
    """
    for name, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UserError(f'{who}: {name} must be an integer, {least} or more, but is {value!r}')


def require_architect(runner, who: str) -> None:
    """The eigenvalue is that of an architect's loss.

    Raises:
        UserError: The run has no architect.
    """
    if Facts.of(runner).architect is None:
        raise UserError(f'{who} needs an architect in default_hooks')


def alpha_decay(architect: Architect) -> float:
    """Alpha's weight decay, which is an eigenvalue's part in RobustDARTS."""
    return architect.optimizer.param_groups[0].get('weight_decay', 0.0)


def measure(runner, epoch: int, iterations: int) -> Eigenvalue | None:
    """The largest eigenvalue at the end of an epoch, on its last batch of L_val.

    It is logged. Weights, buffers and random states are as they were; every rank has the first
    one's.

    Args:
        runner (Runner): A search, at the end of an epoch.
        epoch (int): The epoch.
        iterations (int): Products with the Hessian at most.

    Returns:
        Eigenvalue | None: Of the Hessian of L_val alone; None where there is no batch to take it
        on.
    """
    architect = Facts.of(runner).architect
    missing = architect.restore_last_batch()
    if missing is not None:
        runner.logger.info(f'Eigenvalue of epoch {epoch} skipped: {missing}')
        return None
    value = _largest_eigenvalue(architect, epoch, iterations)
    runner.logger.info(f'Largest eigenvalue of the Hessian of L_val in alpha: {value:.4g}')
    if not value.converged:
        runner.logger.warning(
            f'The eigenvalue of epoch {epoch} has not converged in {value.products} products: '
            f'residual {value.residual:.2g}'
        )
    return value


def _largest_eigenvalue(architect: Architect, epoch: int, iterations: int) -> Eigenvalue:
    buffers = [(buffer, buffer.clone()) for buffer in architect.model.buffers()]
    with preserve_random_state(), architect.training_alpha():
        value = largest_eigenvalue(
            architect.loss(architect.last_batch),
            architect.alphas,
            iterations,
            seed=epoch,
            reduce=average,
            scale=architect.loss_scale,
        )
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    found = [(float(value), value.residual, value.products, value.converged)]
    broadcast_object_list(found)  # what follows is decided by it
    return Eigenvalue(*found[0])
