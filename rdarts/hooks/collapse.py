"""Signs of a collapse into skip connections."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook

from rdarts.architect.gradients import only_learning
from rdarts.architect.hessian import largest_eigenvalue
from rdarts.engine.random_state import preserve_random_state
from rdarts.errors import UserError
from rdarts.genotypes import skips_by_cell
from rdarts.hooks.genotype import GenotypeHook
from rdarts.hooks.search_log import SearchLogHook
from rdarts.registry import HOOKS


@HOOKS.register_module()
class CollapseHook(Hook):
    """Warns of a collapse, and can stop a search before it.

    The signs: a cell type with more than ``max_skips`` skip connections; and, with ``eigenvalue``,
    the largest eigenvalue of the Hessian of L_val in alpha, of which RobustDARTS warns when its
    mean over ``window`` epochs exceeds ``factor`` times that mean ``delta`` epochs before.

    Args:
        max_skips (int): Skip connections that a cell type may have. Defaults to 2.
        eigenvalue (bool): Whether to compute it at the end of every epoch, on that epoch's last
            batch of L_val: as much time as some tens of steps. Defaults to False.
        window, factor, delta, start_epoch: RobustDARTS's rule; epochs count from 1. Default to 5,
            1.3, 4 and 10.
        iterations (int): Hessian products at most. Defaults to 100.
        stop (bool): Whether the second sign ends the search, with the genotype of ``delta`` epochs
            before in ``genotype.json``. Defaults to False.

    Raises:
        UserError: An argument is out of its range, or ``stop`` without ``eigenvalue``.
    """

    # after the genotype hook (whose last genotype it may replace), before the log writes the row
    priority = 55

    def __init__(
        self,
        max_skips: int = 2,
        eigenvalue: bool = False,
        window: int = 5,
        factor: float = 1.3,
        delta: int = 4,
        start_epoch: int = 10,
        iterations: int = 100,
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
        if not factor > 0:
            raise UserError(f'CollapseHook: factor must be positive, but is {factor!r}')
        if stop and not eigenvalue:
            raise UserError('CollapseHook: stop needs eigenvalue=True, by which it decides')
        self.max_skips, self.eigenvalue, self.stop = max_skips, eigenvalue, stop
        self.window, self.factor, self.delta = window, factor, delta
        self.start_epoch, self.iterations = start_epoch, iterations
        self._state: dict[str, Any] = dict(eigenvalues=[], stopped=None)

    def before_train(self, runner) -> None:
        if GenotypeHook.of(runner) is None:
            raise UserError('CollapseHook needs a GenotypeHook in default_hooks')
        from rdarts.architect.hook import ArchitectHook  # which imports the hooks of this folder

        self._architect = next((h for h in runner.hooks if isinstance(h, ArchitectHook)), None)
        if self.eigenvalue and self._architect is None:
            raise UserError('CollapseHook: eigenvalue=True needs an architect in default_hooks')
        if self.stop and self._state['stopped'] is not None:
            runner.train_loop.stop_training = True  # a search that had ended is resumed

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint['collapse'] = dict(self._state, eigenvalues=list(self._state['eigenvalues']))

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner._resume and 'collapse' in checkpoint:
            self._state = dict(checkpoint['collapse'])

    def after_train_epoch(self, runner) -> None:
        epoch = runner.epoch + 1
        skips = skips_by_cell(GenotypeHook.of(runner).current)
        row: dict[str, Any] = dict(skip_connections=skips)
        for cell, count in skips.items():
            if count > self.max_skips:
                runner.logger.warning(
                    f'Sign of collapse: {count} skip connections in the cell type {cell!r} '
                    f'(epoch {epoch})'
                )
        if self.eigenvalue and getattr(self._architect, 'last_batch', None) is not None:
            value = self._largest_eigenvalue(runner, epoch)
            self._state['eigenvalues'].append(value)
            row['eigenvalue'] = value
            runner.logger.info(f'Largest eigenvalue of the Hessian of L_val in alpha: {value:.4g}')
            growth = self._growth()
            if growth is not None and epoch >= self.start_epoch and growth > self.factor:
                self._warn(runner, epoch, growth)
        log = SearchLogHook.of(runner)
        if log is not None:
            log.update_epoch(collapse=row)

    def _growth(self) -> float | None:
        """The mean of the last window over that of ``delta`` epochs before."""
        values, window = self._state['eigenvalues'], self.window
        if len(values) < window + self.delta:
            return None
        now = sum(values[-window:]) / window
        before = sum(values[-window - self.delta : -self.delta]) / window
        return now / before if before > 0 else None

    def _warn(self, runner, epoch: int, growth: float) -> None:
        kept = epoch - self.delta
        runner.logger.warning(
            f'Sign of collapse: the largest eigenvalue has grown {growth:.2f} times in '
            f'{self.delta} epochs; RobustDARTS keeps the genotype of epoch {kept}, '
            f'genotypes/epoch_{kept}.json' + ('; the search ends here' if self.stop else '')
        )
        if self.stop and self._state['stopped'] is None:
            self._state['stopped'] = kept
            runner.train_loop.stop_training = True

    def _largest_eigenvalue(self, runner, epoch: int) -> float:
        from rdarts.architect.hook import average

        architect = self._architect
        model, alphas = architect.model, architect.alphas
        weights = [p for p in model.parameters() if p.requires_grad]
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        with preserve_random_state(), only_learning(alphas, weights):
            with architect.supernet.alpha_phase():
                data = model.data_preprocessor(architect.last_batch, True)
                losses = model._run_forward(data, mode='loss')
                loss = model.parse_losses(losses)[0]
            value = largest_eigenvalue(loss, alphas, self.iterations, seed=epoch, reduce=average)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        return value

    def after_train(self, runner) -> None:
        kept = self._state['stopped']
        if kept is not None:
            GenotypeHook.of(runner).keep(runner, kept)
