"""Signs of a collapse into skip connections."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from rdarts.architect.architect import Architect
from rdarts.architect.gradients import average
from rdarts.architect.hessian import Eigenvalue, largest_eigenvalue
from rdarts.checkpoint.schema import (
    EntryError,
    Items,
    Maybe,
    Number,
    Spec,
    Table,
    Whole,
)
from rdarts.configuration.declarations import AboveZero, Count, Positive
from rdarts.engine.facts import Facts
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype, skips_by_cell
from rdarts.hooks.watchers.base import Watcher
from rdarts.models.alpha import find_alpha_owner
from rdarts.registry import HOOKS
from rdarts.search_spaces import SearchSpace
from rdarts.utils.random_state import preserve_random_state
from rdarts.utils.wording import plural


@HOOKS.register_module()
class CollapseHook(Watcher):
    """Warns of a collapse, and can stop a search before it.

    The signs: a cell type with more than ``max_skips`` skip connections; and, with ``eigenvalue``,
    growth of the largest eigenvalue of the Hessian of L_val in alpha, as RobustDARTS judges it
    (``EVLocalAvg`` of its code). An epoch's local average is the mean over the ``window`` epochs
    around it, so the newest is that of ``window // 2`` epochs ago. Where it exceeds ``factor``
    times that of ``delta`` epochs before, RobustDARTS keeps the genotype of that earlier epoch,
    ``window // 2 + delta`` epochs ago, unless it lies before ``start_epoch``. The last epoch of a
    search is not judged.

    Args:
        max_skips (int): Skip connections that a cell type may have. Defaults to 2.
        eigenvalue (bool): Whether to compute it at the end of every epoch, on that epoch's last
            batch of L_val: as much time as some tens of steps. Defaults to False.
        window (int): Epochs of a local average. Defaults to 5.
        factor (float): Growth that is a sign. Defaults to 1.3.
        delta (int): Epochs over which it grows. Defaults to 4.
        start_epoch (int): First epoch, counted from 1, whose genotype may be kept. Defaults to
            11, which RobustDARTS counts as 10.
        iterations (int): Hessian products at most. Defaults to 100.
        stop (bool): Whether the second sign ends the search, with the genotype that is kept in
            ``genotype.json``. Defaults to False.

    Raises:
        UserError: An argument is out of its range, or ``stop`` without ``eigenvalue``.
    """

    key = 'collapse'
    spec = Table(
        dict(
            eigenvalues=Items(Maybe(Number())),
            genotypes=Items(Maybe(Table(others=Spec()))),
            stopped=Maybe(Whole(1)),
        )
    )

    def __init__(
        self,
        max_skips: Count = 2,
        eigenvalue: bool = False,
        window: Positive = 5,
        factor: AboveZero = 1.3,
        delta: Count = 4,
        start_epoch: Count = 11,
        iterations: Positive = 100,
        stop: bool = False,
    ) -> None:
        least = dict(max_skips=0, window=1, delta=1, start_epoch=1, iterations=1)
        for name, value in dict(
            max_skips=max_skips,
            window=window,
            delta=delta,
            start_epoch=start_epoch,
            iterations=iterations,
        ).items():
            if not isinstance(value, int) or isinstance(value, bool) or value < least[name]:
                raise UserError(
                    f'CollapseHook: {name} must be an integer, {least[name]} or more, but is '
                    f'{value!r}'
                )
        if not isinstance(factor, (int, float)) or isinstance(factor, bool) or not factor > 0:
            raise UserError(f'CollapseHook: factor must be a positive number, but is {factor!r}')
        if stop and not eigenvalue:
            raise UserError('CollapseHook: stop needs eigenvalue=True, by which it decides')
        self.max_skips, self.eigenvalue, self.stop = max_skips, eigenvalue, stop
        self.window, self.factor, self.delta = window, factor, delta
        self.start_epoch, self.iterations = start_epoch, iterations
        # of the epochs from 1 on; None where there is none
        self.state: dict[str, Any] = dict(eigenvalues=[], genotypes=[], stopped=None)

    def before_train(self, runner) -> None:
        if not self.stop:
            self.state['stopped'] = None  # a search that had ended is to go on
        elif self.state['stopped'] is not None:
            self._keep(runner)
            runner.train_loop.stop_training = True  # a search that had ended is resumed

    def before_train_epoch(self, runner) -> None:
        super().before_train_epoch(runner)
        if self.eigenvalue and Facts.of(runner).architect is None:
            raise UserError('CollapseHook: eigenvalue=True needs an architect in default_hooks')

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        super().after_load_checkpoint(runner, checkpoint)
        if runner._resume and self.key in checkpoint:
            _check_epochs(self.state, find_alpha_owner(runner.model).space)

    def after_train_epoch(self, runner) -> None:
        epoch = runner.epoch + 1
        genotype = Facts.of(runner).genotype
        skips = skips_by_cell(genotype)
        row: dict[str, Any] = dict(skip_connections=skips)
        for cell, count in skips.items():
            if count > self.max_skips:
                runner.logger.warning(
                    f'Sign of collapse: {plural(count, "skip connection")} in the cell '
                    f'type {cell!r} '
                    f'(epoch {epoch})'
                )
        if self.eigenvalue:
            value = self._measure(runner, epoch)
            if value is not None:
                row.update(eigenvalue=float(value), eigenvalue_converged=value.converged)
            known = value is not None and math.isfinite(value)
            self._remember('eigenvalues', epoch, float(value) if known else None)
            self._remember('genotypes', epoch, genotype.to_dict())
            self._judge(runner, epoch)
        Facts.of(runner).epoch['collapse'] = row

    def _remember(self, name: str, epoch: int, value: Any) -> None:
        values = self.state[name]
        # the hook may be new in a search that is resumed
        values += [None] * (epoch - 1 - len(values))
        values.append(value)

    def _judge(self, runner, epoch: int) -> None:
        kept = epoch - self.window // 2 - self.delta
        if kept < self.start_epoch or epoch == runner.max_epochs:
            return
        now, before = self._local_average(epoch), self._local_average(epoch - self.delta)
        # a ratio to a curvature that is not positive says nothing
        if now is None or before is None or before <= 0 or now / before <= self.factor:
            return
        runner.logger.warning(
            f'Sign of collapse: the largest eigenvalue has grown {now / before:.2f} times in '
            f'{plural(self.delta, "epoch")}; RobustDARTS keeps the genotype of epoch {kept}, '
            f'genotypes/epoch_{kept}.json' + ('; the search ends here' if self.stop else '')
        )
        if self.stop:
            self.state['stopped'] = kept
            self._keep(runner)
            self.end(runner, kept)

    def _local_average(self, last: int) -> float | None:
        """The mean over the window that ends with an epoch, more than half of which is known."""
        values = self.state['eigenvalues'][max(0, last - self.window) : last]
        values = [value for value in values if value is not None]
        return sum(values) / len(values) if len(values) > self.window // 2 else None

    def _measure(self, runner, epoch: int) -> Eigenvalue | None:
        """The eigenvalue of an epoch, or None where there is no batch to take it on."""
        missing = Facts.of(runner).architect.restore_last_batch()
        if missing is not None:
            runner.logger.info(f'Eigenvalue of epoch {epoch} skipped: {missing}')
            return None
        value = self._largest_eigenvalue(Facts.of(runner).architect, epoch)
        runner.logger.info(f'Largest eigenvalue of the Hessian of L_val in alpha: {value:.4g}')
        if not value.converged:
            runner.logger.warning(
                f'The eigenvalue of epoch {epoch} has not converged in {value.products} products: '
                f'residual {value.residual:.2g}'
            )
        return value

    def _largest_eigenvalue(self, architect: Architect, epoch: int) -> Eigenvalue:
        buffers = [(buffer, buffer.clone()) for buffer in architect.model.buffers()]
        with preserve_random_state(), architect.training_alpha():
            value = largest_eigenvalue(
                architect.loss(architect.last_batch),
                architect.alphas,
                self.iterations,
                seed=epoch,
                reduce=average,
                scale=architect.loss_scale,
            )
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        return value

    def _keep(self, runner) -> None:
        """Make the genotype of the epoch that is kept the result of the search."""
        data = self.state['genotypes'][self.state['stopped'] - 1]
        Facts.of(runner).kept = load_genotype(data, find_alpha_owner(runner.model).space)


def _check_epochs(state: Mapping[str, Any], space: SearchSpace) -> None:
    """What a checkpoint remembers of the epochs fits together.

    Raises:
        EntryError: It does not.
    """
    if len(state['eigenvalues']) != len(state['genotypes']):
        raise EntryError(
            'collapse.genotypes',
            f'are of {plural(len(state["genotypes"]), "epoch")}, but the eigenvalues of '
            f'{len(state["eigenvalues"])}',
        )
    for index, data in enumerate(state['genotypes']):
        if data is None:
            continue
        try:
            load_genotype(data, space)
        except UserError as error:
            raise EntryError(f'collapse.genotypes[{index}]', f'is no genotype: {error}') from None
    kept = state['stopped']
    if kept is not None and (kept > len(state['genotypes']) or not state['genotypes'][kept - 1]):
        raise EntryError('collapse.stopped', f'is {kept}, an epoch without a genotype')
