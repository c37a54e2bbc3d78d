"""The training loop that resumes exactly, for searches and for retraining."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

from rdarts.architect.alpha_step import StepFailed
from rdarts.checkpoint.hub_codec import bound_histories
from rdarts.configuration.declarations import Positive
from rdarts.datasets.loaders import check_loader, iterate_from
from rdarts.engine.checkpoint_hook import last_good_of
from rdarts.engine.facts import Facts
from rdarts.engine.optimizers import note_norms, take_norms
from rdarts.errors import RunFailed, UserError
from rdarts.registry import LOOPS
from rdarts.utils import host
from rdarts.utils.random_state import preserve_random_state, set_random_state, shield_workers


def _others(runner: Any, dataloader: DataLoader) -> list[str]:
    """The loader of alpha, where its batches are as large as those that are too large."""
    given = runner.cfg.get('arch_dataloader')
    size = given.get('batch_size') if isinstance(given, dict) else None
    fits = not isinstance(size, int) or size < (dataloader.batch_size or 0)
    return [] if fits else ['arch_dataloader']


@LOOPS.register_module()
class SearchTrainLoop(EpochBasedTrainLoop):
    """mmengine's loop over epochs, which resumes at batch k of epoch e.

    A resumed run executes exactly the iterations that are left, makes up a validation that the
    interruption lost, and starts from the random states of its checkpoint. Validation never
    draws from the training generators. A training loss that is not finite stops the run.
    Before each epoch, and before what is left of one that is resumed, hooks that have a
    ``between_epochs(runner)`` are called: there the run may be rolled back
    (:mod:`rdarts.engine.roll_back`). When the iterations of an epoch are done, those that have an
    ``after_iterations(runner)`` are, also where a resumed epoch has none left: there alpha may pass
    over images of its own.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader | dict): The train loader.
        max_epochs (int): Epochs to train.
        val_begin (int): First epoch that is validated. Defaults to 1.
        val_interval (int): Epochs between validations. Defaults to 1.

    Raises:
        UserError: The loader has fewer images than a batch.
    """

    def __init__(self, runner, dataloader, max_epochs: Positive, **kwargs: Any) -> None:
        if max_epochs < 1 or int(max_epochs) != max_epochs:
            raise UserError(f'train_cfg.max_epochs must be a positive integer, not {max_epochs}')
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        check_loader(self.dataloader, 'train_dataloader', _others(runner, self.dataloader))
        # of the training generators, while others use them: until a resumed run starts, and
        # during validation
        self.random_state: dict[str, Any] | None = None
        self.validated = False

    def run(self) -> torch.nn.Module:
        """Train."""
        note_norms(self.runner.optim_wrapper)  # which is not built yet where this loop is
        self.runner.call_hook('before_train')
        if self.runner.val_loop is not None:
            shield_workers(self.runner.val_loop.dataloader)
        self.restore_random_state()
        ended = self._epoch and self._iter == self._epoch * len(self.dataloader)
        if ended and not self.validated:
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.runner.call_hook('between_epochs')
            self.run_epoch()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def restore_random_state(self) -> None:
        """Let training go on from the random state of the checkpoint that was loaded."""
        if self.random_state is not None:
            set_random_state(self.random_state)
            self.random_state = None

    def go_to(self, epoch: int, iteration: int) -> None:
        """Go on from where so many epochs and iterations are done."""
        self._epoch, self._iter = epoch, iteration

    def run_epoch(self) -> None:
        """Train what is left of an epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        if not done:
            self.begin_epoch()
        if done < len(self.dataloader):
            for index, batch in enumerate(iterate_from(self.dataloader, done), done):
                self.run_iter(index, batch)
        self.runner.call_hook('after_iterations')
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def begin_epoch(self) -> None:
        """What comes before the first batch of an epoch, once hooks know of it: nothing."""

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Train one batch.

        Raises:
            RunFailed: The loss is NaN or infinite; nothing is saved after that.
        """
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        outputs = self._on_host(self._train_step(data_batch))
        check_finite(outputs.get('loss'), 'training loss', runner)
        runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)
        bound_histories(runner.message_hub)
        self._iter += 1

    def _train_step(self, batch: Any) -> dict[str, torch.Tensor]:
        """A step of the weights, as the architect of a search takes it."""
        model, architect = self.runner.model, Facts.of(self.runner).architect
        if architect is None:
            return model.train_step(batch, optim_wrapper=self.runner.optim_wrapper)
        try:
            return architect.train_step(model, batch)
        except StepFailed as error:
            raise failed_at(error, self.runner) from None

    def _on_host(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """The same on the host, read at once with the norm that mmengine logs."""
        given = {key: one for key, one in outputs.items() if isinstance(one, torch.Tensor)}
        numbers, norms = host.read([given, take_norms(self.runner.optim_wrapper)])
        for name, norm in norms.items():
            self.runner.message_hub.update_scalar(name, norm)
        read = {key: torch.tensor(numbers[key], dtype=one.dtype) for key, one in given.items()}
        return {**outputs, **read}

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        if self.runner.val_loop is None or self._epoch < self.val_begin:
            return
        if self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs:
            with preserve_random_state() as state:
                # what a checkpoint that is saved meanwhile must hold
                self.random_state = state
                self.runner.val_loop.run()
            self.random_state = None


def check_finite(loss: Any, name: str, runner) -> None:
    """Stop a run whose loss is lost.

    Raises:
        RunFailed: The loss is NaN or infinite.
    """
    if loss is None:
        return
    value = float(loss) if not isinstance(loss, torch.Tensor) else host.read(loss.reshape(()))
    if not math.isfinite(value):
        raise RunFailed(
            f'the {name} became {value} at iteration {runner.iter + 1} (epoch '
            f'{runner.epoch + 1}): a lower learning rate may help. {last_good_of(runner)}'
        )


def failed_at(error: StepFailed, runner) -> RunFailed:
    """What ends a run whose alpha cannot move: it says where."""
    return RunFailed(
        f'{error.what} at iteration {runner.iter + 1} (epoch {runner.epoch + 1})'
        f'{error.why} {last_good_of(runner)}'
    )
