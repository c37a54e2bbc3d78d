"""Signs of a collapse into skip connections."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rdarts.architect.hessian import Eigenvalue
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
from rdarts.hooks.watchers.eigenvalue import (
    EigenvalueRule,
    alpha_decay,
    check_counts,
    measure,
    require_architect,
)
from rdarts.models.alpha import find_alpha_owner
from rdarts.registry import HOOKS
from rdarts.search_spaces import SearchSpace
from rdarts.utils.wording import plural


@HOOKS.register_module()
class CollapseHook(Watcher):
    """Warns of a collapse, and can stop a search before it.

    The signs: a cell type with more than ``max_skips`` skip connections; and, with ``eigenvalue``,
    growth of the largest eigenvalue of the Hessian of L_val in alpha, as RobustDARTS judges it:
    see :class:`~rdarts.hooks.watchers.eigenvalue.EigenvalueRule`. RobustDARTS then keeps the
    genotype of the earlier epoch that the rule names (its DARTS-ES).

    Args:
        max_skips (int): Skip connections that a cell type may have. Defaults to 2.
        eigenvalue (bool): Whether to compute it at the end of epochs, on the epoch's last batch of
            L_val: as much time as some tens of steps. Defaults to False.
        window (int): Measurements of a local average. Defaults to 5.
        factor (float): Growth that is a sign. Defaults to 1.3.
        delta (int): Measurements over which it grows. Defaults to 4.
        start_epoch (int): First epoch, counted from 1, whose genotype may be kept. Defaults to
            11, which RobustDARTS counts as 10.
        measure_interval (int): Epochs between two measurements, of which the first epoch has one.
            Defaults to 1; the scripts of RobustDARTS have 2.
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
        delta: Positive = 4,
        start_epoch: Positive = 11,
        measure_interval: Positive = 1,
        iterations: Positive = 100,
        stop: bool = False,
    ) -> None:
        who = type(self).__name__
        check_counts(who, least=0, max_skips=max_skips)
        check_counts(who, iterations=iterations)
        self.rule = EigenvalueRule(window, factor, delta, start_epoch, measure_interval, who)
        if stop and not eigenvalue:
            raise UserError('CollapseHook: stop needs eigenvalue=True, by which it decides')
        self.max_skips, self.eigenvalue, self.stop = max_skips, eigenvalue, stop
        self.iterations = iterations
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
        if self.eigenvalue:
            require_architect(runner, 'CollapseHook: eigenvalue=True')

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
            value = None
            if self.rule.is_measured(epoch) or epoch == runner.max_epochs:
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
        shift = alpha_decay(Facts.of(runner).architect)
        growth = self.rule.judge(self.state['eigenvalues'], epoch, runner.max_epochs, shift)
        if growth is None:
            return
        kept, span = growth.epoch, self.rule.delta * self.rule.interval
        runner.logger.warning(
            f'Sign of collapse: the largest eigenvalue has grown {growth.ratio:.2f} times in '
            f'{plural(span, "epoch")}; RobustDARTS keeps the genotype of epoch {kept}, '
            f'genotypes/epoch_{kept}.json' + ('; the search ends here' if self.stop else '')
        )
        if self.stop:
            self.state['stopped'] = kept
            self._keep(runner)
            self.end(runner, kept)

    def _measure(self, runner, epoch: int) -> Eigenvalue | None:
        """The eigenvalue of an epoch, or None where there is no batch to take it on."""
        return measure(runner, epoch, self.iterations)

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
