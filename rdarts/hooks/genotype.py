"""The genotype of every epoch, as text and as files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from rdarts.configuration.declarations import Component
from rdarts.configuration.retraining import write_retraining
from rdarts.genotypes import Genotype, count_skips, dumps, short_form
from rdarts.hooks.search_log import SearchLogHook
from rdarts.models.alpha import find_alpha_owner
from rdarts.registry import DISCRETIZERS, HOOKS, build
from rdarts.utils.files import write_atomically


@HOOKS.register_module()
class GenotypeHook(Hook):
    """Derives the genotype at the end of every epoch.

    It goes to ``genotypes/epoch_<n>.json``, to the log, in short, with its number of skip
    connections, and at the end of the search to ``genotype.json``.

    Args:
        discretizer (str | dict, optional): The rule. Defaults to the space's own.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        discretizer: Annotated[str | Mapping[str, Any] | None, Component('DISCRETIZERS')] = None,
    ) -> None:
        self.discretizer = discretizer
        self.current: Genotype | None = None

    @staticmethod
    def of(runner) -> GenotypeHook | None:
        """The runner's genotype hook, if it has one."""
        return next((hook for hook in runner.hooks if isinstance(hook, GenotypeHook)), None)

    def before_train(self, runner) -> None:
        self.owner = find_alpha_owner(runner.model)
        space = self.owner.space
        self.rule = build(self.discretizer or space.discretizer, DISCRETIZERS)
        self.rule.relaxation = self.owner.relaxation
        self.current = self.rule(self.owner.arch_parameters, space)

    def before_train_epoch(self, runner) -> None:
        if not is_main_process():
            return
        path = Path(runner.work_dir) / 'genotype.json'
        if not path.exists():
            return
        folder = path.parent / 'genotypes'
        found = (re.fullmatch(r'epoch_(\d+)\.json', item.name) for item in folder.glob('*.json'))
        epoch = max((int(match[1]) for match in found if match), default=runner.epoch)
        folder.mkdir(exist_ok=True)
        target = folder / f'ended_at_epoch_{epoch}.json'
        os.replace(path, target)
        runner.logger.info(
            f'A search that ended at epoch {epoch} goes on: its genotype.json is now '
            f'{target.relative_to(path.parent)}, until it ends again'
        )

    def after_train_epoch(self, runner) -> None:
        self.current = self.rule(self.owner.arch_parameters, self.owner.space)
        skips = count_skips(self.current)
        runner.logger.info(
            f'Genotype of epoch {runner.epoch + 1}: {short_form(self.current)} '
            f'({skips} skip connections)'
        )
        log = SearchLogHook.of(runner)
        if log is not None:
            log.update_epoch(genotype=self.current.to_string(), skip_connections=skips)
        self._write(runner, Path('genotypes') / f'epoch_{runner.epoch + 1}.json')

    def after_train(self, runner) -> None:
        self.keep(runner, self.rule(self.owner.arch_parameters, self.owner.space))

    def keep(self, runner, genotype: Genotype) -> None:
        """Make a genotype the one that the search has found."""
        self.current = genotype
        self._write(runner, Path('genotype.json'))
        if is_main_process():
            write_retraining(runner.cfg, self.owner.space, genotype)

    def _write(self, runner, name: Path) -> None:
        if not is_main_process():
            return
        path = Path(runner.work_dir) / name
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, dumps(self.current).encode())
