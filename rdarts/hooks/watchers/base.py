"""What watches the genotype of every epoch, and may end a search."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

from mmengine.hooks import Hook

from rdarts.checkpoint.schema import Spec, check_entry
from rdarts.engine.facts import Facts
from rdarts.errors import UserError


class Watcher(Hook):
    """A hook whose state is an entry of checkpoints, and that needs a GenotypeHook.

    Attributes:
        key (str): The entry's name, and by which the log says that it ended a search.
        spec (Spec): What the entry must be.
        state (dict): What is saved; plain data.
    """

    priority = 'NORMAL'
    key: ClassVar[str]
    spec: ClassVar[Spec]
    state: dict[str, Any]

    def before_train_epoch(self, runner) -> None:
        if Facts.of(runner).derive is None:
            raise UserError(f'{type(self).__name__} needs a GenotypeHook in default_hooks')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint[self.key] = copy.deepcopy(self.state)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner._resume and self.key in checkpoint:
            check_entry(checkpoint[self.key], self.spec, self.key)
            self.state = copy.deepcopy(checkpoint[self.key])

    def end(self, runner, epoch: int) -> None:
        """End the search with the genotype of an epoch, counted from 1."""
        Facts.of(runner).epoch['stopped'] = dict(by=self.key, kept_epoch=epoch)
        runner.train_loop.stop_training = True
