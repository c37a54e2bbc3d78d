"""What the runs of a comparison would take, measured before any of them runs."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from rdarts.apis.dry_run import dry_run
from rdarts.configuration.load import check_model, set_genotype
from rdarts.errors import RunFailed, UserError
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.study.checks import Checked, check
from rdarts.study.counted import counts
from rdarts.study.remarks import print_remarks
from rdarts.study.result_tables import groups_of
from rdarts.study.run import Run
from rdarts.study.scored_cells import draw_cells
from rdarts.study.searches import (
    Comparison,
    Search,
    evaluations,
    retrainings,
    searches,
    seconds_left,
    training_left,
)
from rdarts.study.tables import wrapped
from rdarts.utils.machine import share_of_cores
from rdarts.utils.wording import plural


def expect(
    plan: Comparison, measures: bool = True, places: int | None = 1, cores: int | None = None
) -> None:
    """List the runs, and measure what one search and one retraining of each kind would take.

    Nothing is run. What counts networks, or evaluates them, is listed alone.

    Args:
        plan (Comparison): What is compared.
        measures (bool): Whether it is measured. Defaults to True.
        places (int, optional): How many run at a time; None: as many as a cluster takes, so that
            the time of all is not known. Defaults to 1.
        cores (int, optional): Of a run. Defaults to a share of those of this machine.

    Raises:
        UserError: Something does not fit, or nothing of what is left can be measured.
    """
    checked = check(plan)
    groups_of(checked.searches)
    found = evaluations(plan) if plan.checkpoints else searches(plan, checked.searches)
    mine = share_of_cores(places or 1)
    torch.set_num_threads(mine if cores is None else min(cores, share_of_cores(1)))
    ended = [search for search in found if search.run.state() == 'done']
    trained = retrainings(plan, ended, checked.trainings)
    measures = measures and not plan.checkpoints
    costs = _Costs(plan, checked, measures, [s for s in ended if s.run.folder in trained])
    lines: list[tuple[str, str, float | None]] = []
    of_searches, of_trainings, longest = 0.0, 0.0, 0.0
    for search in found:
        cost = costs.of_search(search)
        lines.append((search.run.state(), search.run.name, cost))
        of_searches, chain = of_searches + (cost or 0.0), cost or 0.0
        if plan.retrain_of(search.config):
            run = trained.get(search.run.folder)
            cost = costs.of_training(search, run)
            state = 'new' if run is None else run.state()
            lines.append((state, f'{search.method}, seed {search.seed} (retraining)', cost))
            of_trainings, chain = of_trainings + (cost or 0.0), chain + (cost or 0.0)
        longest = max(longest, chain)  # a retraining waits for its search
    lines += [(one.run.state(), one.run.name, None) for one in counts(plan, ended)]
    width = max(len(name) for _, name, _ in lines)
    for state, name, cost in lines:
        print(f'{state:<7} {name:<{width}}  {"not measured" if cost is None else _text(cost)}')
    print_remarks(plan)
    for line in costs.remarks():
        print(wrapped(line))
    if not measures or places is None:
        return
    whole = _text(max((of_searches + of_trainings) / places, longest))
    what = 'for the searches'
    if plan.trainings:
        what = f'({_text(of_searches)} of searches, {_text(of_trainings)} of retrainings)'
    at_a_time = 'one after another' if places == 1 else f'{places} at a time'
    unknown = f', without {plural(costs.missing, "run")} not measured' if costs.missing else ''
    print(f'expected: {whole} {what}, {at_a_time}{unknown}')


def _text(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


class _Costs:
    """What runs would take, of which one of each kind is measured.

    Args:
        plan (Comparison): What is compared.
        checked (Checked): Its configs.
        measures (bool): Whether anything is measured.
        ended (Sequence[Search]): Searches whose cells can be retrained.
    """

    def __init__(
        self, plan: Comparison, checked: Checked, measures: bool, ended: Sequence[Search]
    ) -> None:
        self._plan, self._checked, self._measures = plan, checked, measures
        self._measured: dict[str, dict[str, Any] | None] = {}
        self._cells = {
            self._kind_of_training(search): str(search.run.folder) for search in reversed(ended)
        }
        self._drawn = False
        self.missing = 0
        """How many runs could not be measured."""
        self._errors: dict[str, list[str]] = {}

    def of_search(self, search: Search) -> float | None:
        """Seconds that a search would take; None where that is not measured.

        Args:
            search (Search): The search.
        """
        if search.run.state() == 'done':
            return 0.0
        cfg = self._checked.searches[search.config]
        measured = self._measure(search.config, cfg, search.run.folder)
        return None if measured is None else seconds_left(search.run, cfg, measured)

    def of_training(self, search: Search, run: Run | None) -> float | None:
        """Seconds that the retraining of what a search finds would take, likewise.

        Args:
            search (Search): The search.
            run (Run, optional): The retraining, once the search has ended.
        """
        if run is not None and run.state() == 'done':
            return 0.0
        kind = self._kind_of_training(search)
        if kind not in self._cells:
            (cell,) = draw_cells(self._space_of(search), 1, seed=0)
            self._cells[kind] = json.dumps(cell.to_dict())
            self._drawn = self._measures
        cfg = self._checked.trainings[self._plan.retrain_of(search.config)]
        measured = self._measure(kind, cfg, search.run.folder, self._cells[kind])
        return None if measured is None else training_left(run, cfg, measured)

    def _kind_of_training(self, search: Search) -> str:
        return f'{self._plan.retrain_of(search.config)}, a cell of {self._space_of(search).name}'

    def _space_of(self, search: Search) -> SearchSpace:
        return build_space(self._checked.searches[search.config].model.backbone.space)

    def _measure(
        self, kind: str, cfg: Config, folder: Path, genotype: str | None = None
    ) -> dict[str, Any] | None:
        """What a dry run says of a kind of runs, once; None where it cannot."""
        if not self._measures:
            return None
        if kind not in self._measured:
            self._measured[kind] = None
            print(f'{kind}:')
            try:
                cfg = copy.deepcopy(cfg)
                if genotype is not None:
                    set_genotype(cfg, genotype)
                check_model(cfg)
                cfg.work_dir = str(folder)  # where nothing is written
                self._measured[kind] = dry_run(cfg)
            except (UserError, RunFailed) as error:
                print(f'not measured: {error}')
                self._errors.setdefault(str(error), []).append(kind)
        self.missing += self._measured[kind] is None
        return self._measured[kind]

    def remarks(self) -> list[str]:
        """Lines on what was measured with a drawn cell, and on what could not be measured.

        Raises:
            UserError: Nothing could.
        """
        found = []
        for error, kinds in self._errors.items():
            if not any(self._measured.values()):
                raise UserError(error)
            found.append(f'not measured: {", ".join(kinds)}: {error}')
        if self._drawn:
            found.append('Retrainings of cells that are not found yet: measured with random cells.')
        return found
