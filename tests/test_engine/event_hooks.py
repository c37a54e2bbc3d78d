"""Hooks that make something happen at a chosen moment of a run, and a relaxation, for tests."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from rdarts.architect.relaxations import Relaxation
from rdarts.engine.facts import Facts
from rdarts.hooks import ExecutionHook
from rdarts.models import find_alpha_owner
from rdarts.registry import RELAXATIONS


@HOOKS.register_module()
class SignalAt(Hook):
    """Sends this process a signal at one event.

    Args:
        event (str): ``'iter'`` (after the iteration, before a checkpoint of it), ``'saved'``
            (after the iteration and its checkpoint), ``'alpha'`` or ``'weights'`` (before the
            first step of its optimizer in the iteration), ``'epoch'`` (after the epoch's
            checkpoint, before its validation), ``'val_iter'`` (after the first batch of the
            validation), ``'val'`` (after the validation), or ``'writing'`` (the checkpoint's
            temporary file holds half of it).
        number (int): Of the iteration, or of the epoch for ``'epoch'``, ``'val_iter'`` and
            ``'val'``; from 1.
        signum (int): The signal. Defaults to SIGKILL.
        rank (int, optional): The only rank that gets it. Defaults to None, every one.
    """

    priority = 'NORMAL'

    def __init__(
        self, event: str, number: int, signum: int = signal.SIGKILL, rank: int | None = None
    ) -> None:
        self.event, self.number, self.signum, self.rank = event, number, signum, rank
        if event in ('saved', 'epoch', 'val'):
            self.priority = 'LOWEST'

    def _fire(self, event: str, number: int) -> None:
        if (event, number) == (self.event, self.number) and self.rank in (None, get_rank()):
            os.kill(os.getpid(), self.signum)

    def before_train(self, runner) -> None:
        optimizers = dict(
            alpha=lambda: Facts.of(runner).architect.optimizer,
            weights=lambda: runner.optim_wrapper.optimizer,
        )
        if self.event in optimizers:
            optimizers[self.event]().register_step_pre_hook(
                lambda *args: self._fire(self.event, runner.iter + 1)
            )

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._fire('iter' if self.event == 'iter' else 'saved', runner.iter + 1)

    def after_train_epoch(self, runner) -> None:
        self._fire('epoch', runner.epoch + 1)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if batch_idx == 0:
            self._fire('val_iter', runner.epoch)

    def after_val_epoch(self, runner, metrics=None) -> None:
        self._fire('val', runner.epoch)

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        if self.event != 'writing' or checkpoint['meta']['iter'] != self.number:
            return
        name = f'.iter_{self.number}.pth.tmp'
        half = next(Path(runner.work_dir).glob('*.pth')).read_bytes()
        Path(runner.work_dir, name).write_bytes(half[: len(half) // 2])
        self._fire('writing', self.number)


@HOOKS.register_module()
class Poison(Hook):
    """Makes the head's weights NaN at one iteration.

    Args:
        event (str): ``'before_alpha'`` (L_val is NaN), ``'before_weights'`` (the training loss
            is) or ``'after'`` (only the weights are).
        iteration (int): From 1.
    """

    def __init__(self, event: str, iteration: int) -> None:
        self.event, self.iteration = event, iteration
        self.priority = 'HIGH' if event == 'before_alpha' else 'LOW'

    def _poison(self, runner) -> None:
        if runner.iter + 1 == self.iteration:
            runner.model.head.fc.weight.data.fill_(float('nan'))

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if self.event != 'after':
            self._poison(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.event == 'after':
            self._poison(runner)


@HOOKS.register_module()
class FullDisk(Hook):
    """Lets the renaming of every checkpoint from one iteration on fail as on a full disk."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter + 1 == self.iteration:
            os.fsync = _no_space


def _no_space(*args, **kwargs) -> None:
    raise OSError(28, 'No space left on device')


@HOOKS.register_module()
class Draw(Hook):
    """Draws from each of the global generators after every iteration."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        random.random()
        np.random.random()
        torch.rand(())


@HOOKS.register_module()
class RecordAlpha(Hook):
    """Writes alpha and the weights' dtypes of every rank after every iteration."""

    priority = 'LOWEST'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        supernet = find_alpha_owner(runner.model)
        alpha = {key: value.detach().clone() for key, value in supernet.arch_parameters.items()}
        dtypes = sorted({str(p.dtype) for p in runner.model.parameters()})
        path = Path(runner.work_dir, f'alpha_{get_rank()}_{runner.iter + 1}.pt')
        torch.save(dict(alpha=alpha, dtypes=dtypes), path)


@HOOKS.register_module()
class RecordGenotype(Hook):
    """Writes the genotype that each rank derives at the end of every epoch."""

    priority = 'LOWEST'

    def after_train_epoch(self, runner) -> None:
        text = Facts.of(runner).genotype.to_string()
        Path(runner.work_dir, f'genotype_{get_rank()}_{runner.epoch + 1}.txt').write_text(text)


@HOOKS.register_module()
class RecordWeights(Hook):
    """Writes weights, alpha and optimizer state of every rank at the end, by parameter."""

    def after_train(self, runner) -> None:
        model = getattr(runner.model, 'module', runner.model)
        state = runner.optim_wrapper.optimizer.state
        momenta = {
            name: state[p]['momentum_buffer'] for name, p in model.named_parameters() if p in state
        }
        saved = dict(weights=dict(model.named_parameters()), momenta=momenta)
        torch.save(saved, Path(runner.work_dir, f'weights_{get_rank()}.pt'))


@HOOKS.register_module()
class SwitchExecution(Hook):
    """Sets the supernet's execution before one iteration.

    Args:
        iteration (int): From 1.
        execution (str): What it is from then on.
    """

    priority = 'HIGH'

    def __init__(self, iteration: int, execution: str) -> None:
        self.iteration, self.execution = iteration, execution

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter + 1 == self.iteration:
            find_alpha_owner(runner.model).execution = self.execution


@HOOKS.register_module()
class ClockOfRank(Hook):
    """By the first rank's clock plain is the quicker execution, by the others' fused; notes what
    each rank takes."""

    priority = 'HIGHEST'

    def before_train(self, runner) -> None:
        # fused, then plain
        steps = (0.0, 2.0, 0.0, 1.0) if get_rank() == 0 else (0.0, 1.0, 0.0, 2.0)
        now = itertools.accumulate(itertools.cycle(steps))
        ExecutionHook.clock = staticmethod(lambda: next(now))

    def after_train(self, runner) -> None:
        execution = find_alpha_owner(runner.model).execution
        Path(runner.work_dir, f'execution_{get_rank()}.txt').write_text(execution)


@RELAXATIONS.register_module()
class HardDraw(Relaxation):
    """One candidate an edge, by Gumbel noise; one draw in three is all `none`.

    Args:
        never (int): The candidate that is never drawn.
        apart (int, optional): The draw from which the second rank draws by itself.
    """

    sampled = True

    def __init__(self, never: int = 3, apart: int | None = None) -> None:
        super().__init__()
        self.never, self.apart, self.draws = never, apart, 0

    def forward(self, arch_parameters, space, phase):
        self.draws += 1
        if self.apart is not None and self.draws >= self.apart and get_rank():
            torch.manual_seed(self.draws)
        found = {}
        for name, alpha in arch_parameters.items():
            noise = -torch.empty_like(alpha).exponential_().log()
            noise[:, self.never] = -torch.inf
            soft = (alpha + noise).softmax(-1)
            chosen = soft.argmax(-1, keepdim=True)
            if self.draws % 3 == 0:
                chosen.zero_()
            hard = torch.zeros_like(soft).scatter_(1, chosen, 1.0)
            found[name] = hard + (soft - soft.detach())
        return found


@HOOKS.register_module()
class KillParentOnce(Hook):
    """After one iteration, kills what started this process; it is at once killed with it.

    Args:
        number (int): Of the iteration, from 1. Nothing happens where a file of the work
            directory says that it has happened.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        noted = Path(runner.work_dir, 'killed.txt')
        if runner.iter + 1 == self.number and not noted.exists():
            noted.write_text(f'{os.getppid()}\n')
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
