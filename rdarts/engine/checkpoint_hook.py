"""Checkpoints of a run: written whole or not at all, also when it is stopped.

Longer than 400 lines: one hook, and each moment at which a run can be stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.dist import all_gather_object, get_dist_info, is_main_process
from mmengine.fileio import get_file_backend
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from rdarts.checkpoint.directory import iteration_of, last_good, list_checkpoints, set_aside
from rdarts.checkpoint.hub_codec import pack_message_hub, unpack_message_hub
from rdarts.checkpoint.layout import add_layout
from rdarts.checkpoint.run_state import (
    check_message_hub,
    check_meta,
    check_random_state,
    check_resumable,
)
from rdarts.checkpoint.schema import Flag, check_entry
from rdarts.configuration.declarations import Count, NotNegative, Positive
from rdarts.engine.resuming import check_ranks, check_training
from rdarts.engine.stop_signals import StopRequest, agreed
from rdarts.errors import Interrupted, RunFailed, UserError
from rdarts.registry import HOOKS
from rdarts.utils.files import sync_folder, write_atomically
from rdarts.utils.machine_errors import explain_machine
from rdarts.utils.random_state import get_random_state
from rdarts.utils.stop_signals import signal_name
from rdarts.utils.wording import plural
from rdarts.utils.wrapped import unwrapped


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """Saves at the end of epochs and, within them, every so many iterations or minutes.

    A checkpoint is written beside, synced and renamed; then ``last_checkpoint`` likewise; then
    the oldest are deleted. It holds the random states too. SIGTERM, SIGINT and SIGHUP (of a closed
    terminal; not where it is ignored, as under nohup) say what is being finished, save after the
    running iteration and raise :class:`Interrupted`; a second SIGINT stops at once. A validation
    is left at its next batch: :class:`SearchTrainLoop` makes it up when it is resumed. mmengine's
    own loop begins an epoch anew: of that, checkpoints are of ends of epochs alone.

    Args:
        interval (int): Epochs between two checkpoints. Defaults to 1.
        iter_interval (int): Iterations between two within an epoch; 0 for none. Defaults to 0.
        minutes (float): Minutes between two within an epoch; 0 for none. Defaults to 0.
        max_keep_ckpts (int): Newest checkpoints kept, at least 2: should one be damaged, there is
            another. -1 keeps all. Defaults to 3.
        out_dir (str, optional): A local folder for them. Defaults to the work directory.
        **kwargs: See mmengine's ``CheckpointHook``.

    Raises:
        UserError: ``max_keep_ckpts`` is neither -1 nor positive, ``out_dir`` is not local, or the
            checkpoint is to leave out what resuming needs.
    """

    # what is saved is named iter_<n>.pth, by which a resumed run finds it
    fixed_arguments = ('by_epoch', 'filename_tmpl')

    def __init__(
        self,
        interval: Positive = 1,
        iter_interval: Count = 0,
        minutes: NotNegative = 0.0,
        max_keep_ckpts: Positive | Literal[-1] = 3,
        **kwargs: Any,
    ) -> None:
        if type(max_keep_ckpts) is not int or not (max_keep_ckpts == -1 or max_keep_ckpts > 0):
            raise UserError(
                'checkpoint: max_keep_ckpts must be a positive whole number, or -1 to keep all, '
                f'but is {max_keep_ckpts!r}'
            )
        for name in ('save_optimizer', 'save_param_scheduler'):
            if not kwargs.get(name, True):
                raise UserError(
                    f'checkpoint: {name}={kwargs[name]} leaves out what resuming needs: a resumed '
                    'run would not go on as it began; leave it out'
                )
        if '://' in str(kwargs.get('out_dir') or ''):
            raise UserError(
                f'checkpoint: out_dir must be a local folder, but is {kwargs["out_dir"]}'
            )
        super().__init__(interval=interval, by_epoch=True, max_keep_ckpts=-1, **kwargs)
        self._validated = False
        self._of_ranks: list[dict[str, Any]] = []
        self._buffers: dict[str, torch.Tensor] = {}
        self.iter_interval = iter_interval
        self.minutes = minutes
        self.asked = max_keep_ckpts
        self.keep = None if max_keep_ckpts == -1 else max(2, max_keep_ckpts)
        self.dry_run = False  # True: signals stop at once, and nothing is saved
        self.stop = StopRequest()
        self._epoch_saved = 0
        self._val_batches: int | None = None
        self._saved_at = time.monotonic()

    def before_train(self, runner) -> None:
        # what mmengine's does, less its deprecated file client
        self.out_dir = self.out_dir or runner.work_dir
        self.file_backend = get_file_backend(self.out_dir)
        if self.save_best is not None and len(self.key_indicators) == 1:
            self.best_ckpt_path = runner.message_hub.runtime_info.get('best_ckpt')
        self._saved_at = time.monotonic()
        self.restore_buffers(runner)
        if self.asked == 1:
            runner.logger.info(
                'max_keep_ckpts=1: two checkpoints are kept, in case that the newest is damaged'
            )
        if is_main_process():
            self._clear(runner)
        if not self.dry_run:
            within = not _begins_epochs_anew(runner)
            self.stop.listen(is_main_process(), 'what comes before the first iteration', within)

    def restore_buffers(self, runner) -> None:
        """Give this rank the buffers that it had itself when the checkpoint was saved."""
        buffers = dict(runner.model.named_buffers())
        for key, value in self._buffers.items():
            buffers[key].copy_(value)
        self._buffers = {}

    def _clear(self, runner) -> None:
        """Half-written files of a killed run, and checkpoints past the one that is resumed."""
        folder = Path(self.out_dir)
        for path in folder.glob('.*.pth.tmp'):
            path.unlink()
        # a kill between a checkpoint and these leaves them for the next save, which may not come
        self._only_newest(runner, runner.iter)

    def _only_newest(self, runner, iteration: int) -> None:
        """Of the checkpoints up to an iteration, name the newest and keep as many as was asked.

        Later ones, which would be taken for the newest of this run, are set aside.
        """
        folder = Path(self.out_dir)
        newer = [path for path in list_checkpoints(folder) if iteration_of(path) > iteration]
        if newer:
            target = set_aside(folder, newer)
            runner.logger.info(f'Checkpoints after iteration {iteration} moved to {target}')
        kept = list_checkpoints(folder)
        if kept:
            write_atomically(folder / 'last_checkpoint', os.fsencode(kept[0]))
            for old in () if self.keep is None else kept[self.keep :]:
                old.unlink()

    def after_train(self, runner) -> None:
        self.stop.release()
        super().after_train(runner)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        model = unwrapped(runner.model)
        check_resumable(checkpoint, model)
        meta, length = checkpoint['meta'], checkpoint.get('epoch_length')
        own = len(runner.train_dataloader)
        check_meta(meta, length, own)
        if meta['seed'] != runner.seed:
            raise UserError(
                f'cannot resume: the run was begun with seed {meta["seed"]}, not {runner.seed}; '
                f'leave --seed out or set it to {meta["seed"]}'
            )
        if length is not None and length != own:
            raise UserError(
                f'cannot resume: an epoch had {plural(length, "iteration")} and now has '
                f'{own} (another '
                'batch size, data set or number of processes?); resume with what began the run'
            )
        for key in ('random_state', 'message_hub', 'optimizer'):
            if key not in checkpoint:
                raise UserError(
                    f'cannot resume: the checkpoint has no entry {key}, without which the run '
                    'would go on otherwise than it began; start from its weights with '
                    '--cfg-options load_from=FILE'
                )
        check_message_hub(checkpoint['message_hub'])
        check_training(runner, checkpoint)
        check_random_state(checkpoint['random_state'], 'random_state')
        check_entry(checkpoint.get('validated', False), Flag(), 'validated')
        ranks = checkpoint.get('ranks', [])
        check_ranks(ranks, model)

        rank = get_dist_info()[0]
        checkpoint['message_hub'] = unpack_message_hub(checkpoint['message_hub'])
        runner.train_loop.random_state = checkpoint['random_state']
        runner.train_loop.validated = checkpoint.get('validated', False)
        if ranks:
            runner.train_loop.random_state = ranks[rank]['random_state']
            self._buffers = ranks[rank]['buffers']

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        for key, tensor in checkpoint['state_dict'].items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise RunFailed(
                    f"'{key}' holds NaN or infinite values after iteration {runner.iter + 1}; "
                    f'not saved. {last_good_of(runner)}'
                )
        checkpoint['message_hub'] = pack_message_hub(checkpoint['message_hub'])
        checkpoint['random_state'] = _training_state(runner)
        checkpoint['ranks'] = self._of_ranks
        checkpoint['epoch_length'] = len(runner.train_dataloader)
        checkpoint['validated'] = self._validated
        add_layout(checkpoint)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self.stop.doing = f'iteration {runner.iter + 1}'

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        done = runner.iter + 1
        due = bool(self.iter_interval and done % self.iter_interval == 0)
        self._save_within_epoch(runner, done, due, f'after iteration {done}')
        ends = done % len(runner.train_dataloader) == 0
        self.stop.doing = f'epoch {runner.epoch + 1}' if ends else f'iteration {done + 1}'

    def before_alpha_iter(self, runner, index: int, count: int) -> None:
        self.stop.doing = f'step {index + 1} of alpha, of {count}'

    def before_pass_iter(self, runner, index: int, count: int) -> None:
        self.stop.doing = f'batch {index + 1} of a pass over the images, of {count}'

    def after_alpha_iter(self, runner, index: int, count: int) -> None:
        """Within a pass: the number of alpha's steps, or the architect's state, says how far."""
        where = f'after {self.stop.doing}, in epoch {runner.epoch + 1}'
        self._save_within_epoch(runner, runner.iter, False, where)
        self.stop.doing = f'epoch {runner.epoch + 1}'

    after_pass_iter = after_alpha_iter

    def _save_within_epoch(self, runner, iteration: int, due: bool, where: str) -> None:
        """Save if it is time, or if the run is asked to stop, which it does then.

        Args:
            runner (Runner): The runner.
            iteration (int): How many are done.
            due (bool): Whether it is time by their number.
            where (str): Where the run stops, for the message.
        """
        stop = self.stop.of_any_rank()
        if self.minutes:
            elapsed = torch.tensor(time.monotonic() - self._saved_at)
            due = due or bool(agreed((elapsed >= 60 * self.minutes).int()))
        anew = _begins_epochs_anew(runner)
        if (due or stop) and not anew:
            self._save(runner, epoch=runner.epoch, iteration=iteration, epoch_end=False)
        if stop:
            self._stop(stop, where, f'epoch {runner.epoch + 1} begins anew' if anew else 'saved')

    def after_train_epoch(self, runner) -> None:
        ends = self.is_last_train_epoch(runner)
        ends = ends or getattr(runner.train_loop, 'stop_training', False)
        if self.every_n_epochs(runner, self.interval, self.save_begin) or (self.save_last and ends):
            self._save(runner, epoch=runner.epoch + 1, iteration=runner.iter, epoch_end=True)
            self._epoch_saved = runner.epoch + 1

    def before_val(self, runner) -> None:
        self.stop.doing = f'a batch of the validation of epoch {runner.epoch}'
        # a process may have fewer than another
        self._val_batches = int(agreed(torch.tensor(len(runner.val_dataloader)), 'min'))
        self._stop_validation(runner)

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if batch_idx < self._val_batches:
            self._stop_validation(runner, begun=True)

    def after_val(self, runner) -> None:
        self.stop.doing = f'iteration {runner.iter + 1}'

    def _stop_validation(self, runner, begun: bool = False) -> None:
        """Stop at a validation, which the resumed run makes up.

        Args:
            runner (Runner): The runner.
            begun (bool): Whether the validation has begun, and averaged weights with it.
                Defaults to False.
        """
        stop = self.stop.of_any_rank() if hasattr(runner.train_loop, 'validated') else 0
        if not stop:
            return
        if self._epoch_saved != runner.epoch:
            for hook in runner.hooks if begun else ():
                if isinstance(hook, EMAHook):  # puts the weights that are trained back
                    hook.after_val_epoch(runner)
            self._save(runner, epoch=runner.epoch, iteration=runner.iter, epoch_end=True)
        self._stop(stop, f'in the validation of epoch {runner.epoch}')

    def _stop(self, number: int, where: str, how: str = 'saved') -> None:
        """End the run.

        Raises:
            Interrupted: Always.
        """
        self.stop.release()
        raise Interrupted(
            f'stopped by {signal_name(number)} {where}; '
            f'{how}: start the same command with --resume to go on',
            number,
        )

    def after_decision(self, runner, decided: int, **told: Any) -> None:
        """Save between two epochs, after a decision of a selection: see ``engine/selection``."""
        self._validated = True
        try:
            self._save(runner, runner.epoch, runner.iter, False, f'_decision_{decided}')
        finally:
            self._validated = False

    def stop_between(self, runner, decided: int, number: int) -> None:
        """Save between two decisions, and stop.

        Args:
            runner (Runner): The runner.
            decided (int): How many decisions are taken.
            number (int): Of the signal.

        Raises:
            Interrupted: Always.
        """
        self.after_decision(runner, decided)
        self._stop(number, f'between two decisions, after {decided}')

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        # called once more by `save_best`, after the validation, to keep the best score
        self._validated = True
        try:
            self._save(runner, epoch=meta['epoch'], iteration=meta['iter'], epoch_end=True)
        finally:
            self._validated = False

    def after_roll_back(self, runner, **told: Any) -> None:
        """Save what the run was rolled back to, as the newest; later ones are set aside."""
        self._save_checkpoint_with_step(runner, None, dict(epoch=runner.epoch, iter=runner.iter))

    def _save(
        self, runner: Runner, epoch: int, iteration: int, epoch_end: bool, suffix: str = ''
    ) -> None:
        name = f'iter_{iteration}{suffix}.pth'
        if epoch_end:
            name = f'epoch_{epoch}_{name}'
        path = Path(self.out_dir, name)
        self.last_ckpt = str(path)
        self.write(runner, path, epoch, iteration)
        if is_main_process():
            with _naming(path, runner):
                self._only_newest(runner, iteration)
        self._saved_at = time.monotonic()

    def write(self, runner: Runner, path: Path, epoch: int, iteration: int) -> None:
        """Write a checkpoint whole or not at all. Every rank calls it.

        Args:
            runner (Runner): The runner.
            path (Path): The file; its folder is made where it is missing.
            epoch, iteration (int): How many are done.

        Raises:
            RunFailed: It cannot be written.
        """
        temporary = path.with_name(f'.{path.name}.tmp')
        self._of_ranks = _gather_ranks(runner)
        try:
            with _naming(path, runner):
                runner.save_checkpoint(
                    str(path.parent),
                    temporary.name,
                    save_optimizer=self.save_optimizer,
                    save_param_scheduler=self.save_param_scheduler,
                    meta=dict(epoch=epoch, iter=iteration),
                    by_epoch=True,
                )
                if is_main_process():
                    with open(temporary, 'rb+') as file:
                        os.fsync(file.fileno())
                    os.replace(temporary, path)
                    sync_folder(path.parent)  # before an older one is deleted
        except RunFailed:
            with suppress(OSError):  # on a broken disk that fails too
                temporary.unlink(missing_ok=True)
            raise
        finally:
            self._of_ranks = []


def _begins_epochs_anew(runner: Runner) -> bool:
    """Whether what is done of an epoch counts for nothing in a resumed run: mmengine's own loop."""
    run_epoch = getattr(type(runner.train_loop), 'run_epoch', None)
    return run_epoch is EpochBasedTrainLoop.run_epoch


@contextmanager
def _naming(path: Path, runner: Runner) -> Iterator[None]:
    """Within, what cannot be written ends the run with the name of the checkpoint.

    Raises:
        RunFailed: It cannot.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = None  # it is named already
        raise RunFailed(
            f'cannot write the checkpoint {path}: '
            f'{explain_machine(error) or error.strerror or error}. {last_good_of(runner)}'
        ) from None


def _training_state(runner) -> dict[str, Any]:
    """The random state of this process, as training will need it next."""
    state = getattr(runner.train_loop, 'random_state', None)
    return get_random_state() if state is None else state


def _gather_ranks(runner) -> list[dict[str, Any]]:
    """What each rank has for itself: random state and buffers (running statistics).

    Empty for a single process, whose state dict says it all.
    """
    if get_dist_info()[1] == 1:
        return []
    buffers = {key: value.cpu() for key, value in runner.model.named_buffers()}
    return all_gather_object(dict(random_state=_training_state(runner), buffers=buffers))


def last_good_of(runner) -> str:
    """:func:`last_good` of the folder where a run saves its checkpoints, if it does."""
    hook = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
    if getattr(hook, 'dry_run', False):
        return 'A dry run saves nothing.'
    return last_good(getattr(hook, 'out_dir', None) or runner.work_dir)
