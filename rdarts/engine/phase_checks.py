"""Whether the phases of a search fit each other: asked before anything is trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rdarts.architect.discretizers.base import rule_of
from rdarts.architect.transitions import Beginning, Ended
from rdarts.configuration.as_data import entry, type_name
from rdarts.configuration.phases import Phase
from rdarts.engine.compiling import check_architect, graphs_of
from rdarts.engine.going_on import hand_over, network_of
from rdarts.engine.phase_runs import PhaseRuns
from rdarts.engine.runner import asks, check_device, loop_class, runner_class
from rdarts.errors import UserError
from rdarts.models.alpha import find_alpha_owner
from rdarts.registry import HOOKS, build
from rdarts.utils.random_state import preserve_random_state

SCORE = 'accuracy/top1'  # by which the best branch is chosen


def check_phases(runs: PhaseRuns) -> None:
    """Build every phase, and call every transition with phases that were only built.

    Args:
        runs (PhaseRuns): The search.

    Raises:
        UserError: Two phases do not fit each other, or the search of ``init`` does not; the line
            begins with the phase.
    """
    with preserve_random_state():
        last = None if runs.init is None else runs.initial('cpu')
        for phase in runs.to_run:
            try:
                _check_alone(phase, phase is runs.phases[-1])
                last = _built(runs, phase, last)
            except UserError as error:
                raise UserError(f'phases.{phase.index}: {error}') from None


def _check_alone(phase: Phase, is_last: bool) -> None:
    """What would be noticed only when a phase begins, or ends."""
    cfg = phase.cfg
    asking = asks(cfg)
    if asking:
        _check_asking(phase, is_last)
        runner_class(cfg).check(cfg)
    check_device(cfg)
    hooks = cfg.get('default_hooks') or {}
    if hooks.get('architect') and graphs_of(cfg.get('compile')):
        spec = {key: value for key, value in hooks['architect'].items() if key != 'priority'}
        architect = getattr(build(spec, HOOKS), 'architect', None)
        if architect is not None:
            check_architect(cfg.compile, architect)
    weights = cfg.get('load_from')
    if weights and '://' not in str(weights) and not Path(weights).is_file():
        raise UserError(f'load_from: checkpoint not found: {weights}')
    if is_last and not hooks.get('genotype') and not asking:
        raise UserError(
            'default_hooks.genotype is None: the last phase says what the search has found'
        )
    if phase.branches > 1:
        _check_branches(phase, hooks)


def _check_asking(phase: Phase, is_last: bool) -> None:
    given = dict(start=phase.start, continue_from_last=phase.goes_on, branches=phase.branches > 1)
    for key, value in given.items():
        if value:
            raise UserError(
                f'{key} is of phases that train, but this one asks the supernet of the phase before'
            )
    if not is_last:
        raise UserError('a phase that asks leaves no network to one after it: it must be the last')


def _check_branches(phase: Phase, hooks: Mapping[str, Any]) -> None:
    cfg = phase.cfg
    many = (
        f'of {phase.branches} branches the one of the highest {SCORE} on validation images goes on'
    )
    if cfg.get('val_dataloader') is None:
        raise UserError(f'{many}: set val_dataloader')
    if not hooks.get('search_log'):
        raise UserError(f'{many}, which is read in the log: set default_hooks.search_log')
    begin = entry(cfg.get('train_cfg'), 'val_begin')
    if isinstance(begin, int) and begin > phase.epochs:
        raise UserError(
            f'{many}, after its last epoch: set train_cfg.val_begin, {begin}, to at most '
            f'{phase.epochs}'
        )
    given = cfg.get('val_evaluator')
    metrics = given if isinstance(given, (list, tuple)) else [given]
    for metric in metrics:
        topk = entry(metric, 'topk') or 1
        if type_name(metric) == 'Accuracy' and 1 in (
            topk if isinstance(topk, (list, tuple)) else [topk]
        ):
            return
    raise UserError(f"{many}: set val_evaluator=dict(type='Accuracy', topk=(1,))")


def _built(runs: PhaseRuns, phase: Phase, last: Ended | None) -> Ended:
    """A phase that is only built, after another one."""
    new = network_of(phase.cfg)
    check = getattr(loop_class(phase.cfg), 'check', None)
    if check is not None:
        check(phase.cfg, find_alpha_owner(new).space)
    if last is not None:
        _check_optimizers(phase, last)
        last = Ended(last.cfg, last.model)  # as if it had not been trained
        for branch in reversed(range(phase.branches)):
            model = copy.deepcopy(new) if branch else new
            begins = Beginning(phase.cfg, model, 0, branch, phase.branches)
            hand_over(begins, last, runs.transitions[phase.index], phase.goes_on)
    genotype = (phase.cfg.get('default_hooks') or {}).get('genotype')
    if genotype:
        rule_of(find_alpha_owner(new), genotype.get('discretizer'))
    return Ended(phase.cfg, new)


def _check_optimizers(phase: Phase, last: Ended) -> None:
    """An optimizer takes over the state of one of its own kind.

    Raises:
        UserError: It is to take over that of another kind.
    """
    if 'optimizer' not in phase.goes_on:
        return
    of = dict(weights=('optim_wrapper', 'optimizer'), alpha=('arch_optimizer',))
    places = [place for what, place in of.items() if what in phase.goes_on]
    if not places:
        raise UserError(
            "'optimizer' goes on with what it moves: add 'weights', or 'alpha' for alpha's, to "
            'continue_from_last'
        )
    configs = [one.to_dict() for one in (last.cfg, phase.cfg)]
    for place in places:
        before, now = (type_name(entry(cfg, *place)) for cfg in configs)
        if before != now:
            raise UserError(
                f"'optimizer' goes on, but {'.'.join(place)} is {now} in this phase and {before} "
                'in that before: set one kind, or let it begin anew'
            )
