"""The genotype of every epoch, as text and as files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from rdarts.architect.discretizers.base import rule_of
from rdarts.configuration.declarations import Component
from rdarts.configuration.retraining import write_retraining
from rdarts.engine.facts import Facts, Place
from rdarts.genotypes import Genotype, count_skips, dumps, short_form
from rdarts.models.alpha import find_alpha_owner
from rdarts.registry import HOOKS
from rdarts.utils.files import write_atomically
from rdarts.utils.wording import plural


@HOOKS.register_module()
class GenotypeHook(Hook):
    """Derives the genotype at the end of every epoch.

    It goes to ``genotypes/epoch_<n>.json``, to the log, in short, with its number of skip
    connections, and at the end of the run to ``genotype.json``. Where the rule derives others of
    the same alpha, these are written then, too, ``genotypes/<name>.json``. The epochs of a search
    in phases are counted over all, and each phase has its ``genotype.json`` in its own folder. Of a
    supernet without alpha, nothing is derived.

    Args:
        discretizer (str | dict, optional): The rule. Defaults to the space's own.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        discretizer: Annotated[str | Mapping[str, Any] | None, Component('DISCRETIZERS')] = None,
    ) -> None:
        self.discretizer = discretizer

    def before_train(self, runner) -> None:
        self.owner = find_alpha_owner(runner.model)
        if not self.owner.groups:
            return
        self.rule = rule_of(self.owner, self.discretizer)
        Facts.of(runner).derive = lambda: self.rule(*self.owner.view())
        if is_main_process():
            for name in self.rule.others(*self.owner.view()):  # of an earlier end
                self._other(runner, name).unlink(missing_ok=True)

    def before_train_epoch(self, runner) -> None:
        if not is_main_process():
            return
        place = Place.of(runner)
        path = place.folder / 'genotype.json'
        if not path.exists():
            return
        folder = path.parent / 'genotypes'
        found = (re.fullmatch(r'epoch_(\d+)\.json', item.name) for item in folder.glob('*.json'))
        epoch = max(
            (int(match[1]) for match in found if match), default=place.epochs_before + runner.epoch
        )
        folder.mkdir(exist_ok=True)
        target = folder / f'ended_at_epoch_{epoch}.json'
        os.replace(path, target)
        runner.logger.info(
            f'A search that ended at epoch {epoch} goes on: its genotype.json is now '
            f'{target.relative_to(path.parent)}, until it ends again'
        )

    def after_train_epoch(self, runner) -> None:
        facts = Facts.of(runner)
        genotype, place = facts.genotype, Place.of(runner)
        if genotype is None:
            return
        skips = count_skips(genotype)
        runner.logger.info(
            f'Genotype of epoch {runner.epoch + 1}: {short_form(genotype)} '
            f'({plural(skips, "skip connection")})'
        )
        facts.epoch.update(genotype=genotype.to_string(), skip_connections=skips)
        self._write(genotype, self._of_epoch(place, runner.epoch + 1))

    def after_roll_back(self, runner, left_epoch: int, **told: Any) -> None:
        """The files of epochs that the search has gone back on are gone; the log has their text."""
        place = Place.of(runner)
        if is_main_process():
            for epoch in range(runner.epoch + 1, left_epoch + 1):
                self._of_epoch(place, epoch).unlink(missing_ok=True)

    def after_train(self, runner) -> None:
        facts = Facts.of(runner)
        genotype = facts.kept or facts.genotype
        if genotype is None:
            return
        self._write(genotype, Path(runner.work_dir, 'genotype.json'))
        if facts.kept is None:  # which is of an earlier alpha
            for name, other in self.rule.others(*self.owner.view()).items():
                self._write(other, self._other(runner, name))
        if is_main_process() and Place.of(runner).phase is None:
            write_retraining(runner.cfg, self.owner.space, genotype)

    def _of_epoch(self, place: Place, epoch: int) -> Path:
        return place.folder / 'genotypes' / f'epoch_{place.epochs_before + epoch}.json'

    def _other(self, runner, name: str) -> Path:
        return Place.of(runner).folder / 'genotypes' / f'{name}.json'

    def _write(self, genotype: Genotype, path: Path) -> None:
        if not is_main_process():
            return
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, dumps(genotype).encode())
