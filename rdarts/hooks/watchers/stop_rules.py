"""The stop rules of DARTS+ (https://arxiv.org/abs/1909.06035)."""

from __future__ import annotations

from typing import Any

from rdarts.checkpoint.schema import Items, Maybe, Table, Text, Whole
from rdarts.configuration.declarations import Count, Positive
from rdarts.engine.facts import Facts
from rdarts.errors import UserError
from rdarts.genotypes import skips_by_cell
from rdarts.hooks.watchers.base import Watcher
from rdarts.models.alpha import find_alpha_owner
from rdarts.registry import HOOKS
from rdarts.utils.wording import plural


@HOOKS.register_module()
class StopRulesHook(Watcher):
    """Ends a search when a cell takes to skip connections, or alpha's ranking has settled.

    Criterion 1: in the genotype of an epoch, a cell type has ``skips`` skip connections or more.
    Criterion 1*: on every edge the order of the candidates that have weights, by their mixing
    weights, has been the same for ``patience`` epochs, the first of them included. Either ends the
    search with the genotype of that epoch. Neither counts an epoch before alpha has moved, as what
    alpha says until then is the noise of its start. There is no official code; both are the paper's
    text.
    (confopt's stopper has *more than* its number of skip connections in either cell, and only after
    some epochs.)

    Args:
        skips (int, optional): 0 or more; None leaves criterion 1 out. Defaults to 2.
        cell (str, optional): The cell type that is counted; None counts each. Defaults to
            ``'normal'`` where the space has it, else to each.
        patience (int, optional): None leaves criterion 1* out, for which the paper has 10 on CIFAR.
            Defaults to none.
        start_epoch (int): The first epoch, counted from 1, that may end the search. Defaults to 1.

    Raises:
        UserError: An argument is out of its range, or both criteria are left out.
    """

    key = 'stop_rules'
    spec = Table(dict(ranking=Maybe(Items(Text())), epochs=Whole(), stopped=Maybe(Whole(1))))

    def __init__(
        self,
        skips: Count | None = 2,
        cell: str | None = None,
        patience: Positive | None = None,
        start_epoch: Positive = 1,
    ) -> None:
        least = dict(skips=0, patience=1, start_epoch=1)
        given = dict(skips=skips, patience=patience, start_epoch=start_epoch)
        for name, value in given.items():
            if value is None and name != 'start_epoch':
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least[name]:
                raise UserError(
                    f'StopRulesHook: {name} must be an integer, {least[name]} or more, but is '
                    f'{value!r}'
                )
        if skips is None and patience is None:
            raise UserError('StopRulesHook: give skips, patience or both')
        self.skips, self.cell, self.patience, self.start_epoch = skips, cell, patience, start_epoch
        self.state: dict[str, Any] = dict(ranking=None, epochs=0, stopped=None)

    def before_train(self, runner) -> None:
        cells = find_alpha_owner(runner.model).space.cells
        if self.cell is not None and self.cell not in cells:
            raise UserError(f'StopRulesHook: there is no cell {self.cell!r}, but {list(cells)}')
        if self.state['stopped'] is not None:
            runner.train_loop.stop_training = True  # a search that had ended is resumed

    def after_train_epoch(self, runner) -> None:
        epoch, facts = runner.epoch + 1, Facts.of(runner)
        if facts.architect is not None and not facts.architect.steps:
            return
        settled = self._settled(runner)  # which counts epochs
        why = self._collapsed(facts) or settled
        if why is None or epoch < self.start_epoch or self.state['stopped'] is not None:
            return
        runner.logger.info(f'{why}: the search ends here')
        self.state['stopped'] = epoch
        self.end(runner, epoch)

    def _collapsed(self, facts: Facts) -> str | None:
        if self.skips is None:
            return None
        found = skips_by_cell(facts.genotype)
        cell = self.cell or ('normal' if 'normal' in found else None)
        for name, count in found.items():
            if cell in (None, name) and count >= self.skips:
                return f"The cell '{name}' has {plural(count, 'skip connection')}"
        return None

    def _settled(self, runner) -> str | None:
        if self.patience is None:
            return None
        owner, state = find_alpha_owner(runner.model), self.state
        weights, ranking = owner.expected_weights(), []
        for group in owner.space.groups:
            names = enumerate(group.candidates)
            learn = [k for k, name in names if name not in owner.space.parameter_free]
            for row in weights[group.name].tolist():
                order = sorted(learn, key=lambda k, row=row: -row[k])
                ranking.append(' '.join(group.candidates[k] for k in order))
        state['epochs'] = state['epochs'] + 1 if ranking == state['ranking'] else 1
        state['ranking'] = ranking
        if state['epochs'] < self.patience:
            return None
        return f'The ranking of alpha has been the same for {plural(state["epochs"], "epoch")}'
