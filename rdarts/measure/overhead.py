"""Where the time of a search goes: data, computing, hooks and logging, the rest."""

from __future__ import annotations

import contextlib
import functools
import io
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from rdarts.engine.runner import build_runner
from rdarts.errors import UserError
from rdarts.hooks.architect_hook import ArchitectHook
from rdarts.utils.wording import plural

SECTIONS = dict(
    data='data: loaders, data preprocessor',
    compute='forward, backward, optimizers',
    hooks='hooks and logging',
    other='other',
)
VAL_BATCHES = 5  # the first one warms up
# after these the loop waits for a batch
BEFORE_A_BATCH = ('before_train_epoch', 'after_train_iter', 'before_val_epoch', 'after_val_iter')


class SectionTimer:
    """Seconds by section; what an inner section takes is not counted for the outer one.

    Args:
        now (Callable): A clock in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: Counter[str] = Counter()
        self._now = now
        self._open: list[str] = []
        self._outermost = 'other'
        self._since = now()

    def _count(self) -> None:
        section = self._open[-1] if self._open else self._outermost
        if section == 'compute' and torch.cuda.is_available():
            torch.cuda.synchronize()
        now = self._now()
        self.seconds[section] += now - self._since
        self._since = now

    def set_outermost(self, section: str) -> None:
        """What the time outside all sections is counted for from now on."""
        self._count()
        self._outermost = section

    def snapshot(self) -> Counter[str]:
        """The seconds up to now."""
        self._count()
        return self.seconds.copy()

    def wrap(self, owner: Any, name: str, section: str) -> None:
        """Count the calls of an object's method for a section."""
        method = getattr(owner, name)

        @functools.wraps(method)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._count()
            self._open.append(section)
            try:
                return method(*args, **kwargs)
            finally:
                self._count()
                self._open.pop()

        setattr(owner, name, timed)


class Recorder:
    """Takes the times of a runner from its calls of hooks.

    Args:
        runner (Runner): One that has not started.
        now (Callable): A clock in seconds.

    Attributes:
        parts (dict): Seconds by section: ``train`` and ``val`` of every iteration, ``train_end``
            and ``val_end`` of what follows the last one of an epoch.
    """

    def __init__(self, runner: Runner, now: Callable[[], float] = time.perf_counter) -> None:
        self.runner = runner
        self.timer = SectionTimer(now)
        self.parts: dict[str, list[Counter[str]]] = dict(train=[], train_end=[], val=[], val_end=[])
        self._last = self.timer.snapshot()
        self.timer.wrap(runner, 'call_hook', 'hooks')
        self._call_hook = runner.call_hook
        runner.call_hook = self.call_hook

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Replaces the runner's."""
        self.timer.set_outermost('other')
        if fn_name in ('before_train_epoch', 'before_val_epoch'):
            self._last = self.timer.snapshot()
        self._call_hook(fn_name, **kwargs)
        if fn_name == 'before_train':
            self._wrap_parts()
        mode = 'train' if 'train' in fn_name else 'val'
        if fn_name == f'after_{mode}_iter':
            self._record(mode)
        elif fn_name == f'after_{mode}_epoch':
            self._record(f'{mode}_end')
        if fn_name in BEFORE_A_BATCH:
            self.timer.set_outermost('data')

    def _record(self, part: str) -> None:
        now = self.timer.snapshot()
        self.parts[part].append(Counter({key: now[key] - self._last[key] for key in SECTIONS}))
        self._last = now

    def _wrap_parts(self) -> None:
        model = self.runner.model
        calls = [
            (model, 'train_step', 'compute'),
            (model, 'val_step', 'compute'),
            (model.data_preprocessor, 'forward', 'data'),
        ]
        for hook in self.runner.hooks:
            if isinstance(hook, ArchitectHook):
                architect = hook.architect
                calls += [
                    (architect, 'next_batch', 'data'),
                    (architect, 'loss_gradient', 'compute'),
                    (architect, 'penalty_gradients', 'compute'),
                    # none where there is no alpha
                    *([(architect.optimizer, 'step', 'compute')] if architect.optimizer else []),
                ]
        for owner, name, section in calls:
            self.timer.wrap(owner, name, section)


def shorten(cfg: Config, iterations: int, warmup: int) -> dict[str, int]:
    """Make a config run one epoch of a few iterations, and one validation.

    Args:
        cfg (Config): The config.
        iterations (int): Iterations to measure.
        warmup (int): Iterations before them.

    Returns:
        dict: Batches of ``train`` and, if there is a validation, ``val`` in a whole epoch.

    Raises:
        UserError: An epoch has fewer iterations.
    """
    cfg.train_cfg.max_epochs = 1
    cfg.train_cfg.val_interval = 1
    cfg.train_cfg.pop('val_begin', None)
    architect = cfg.default_hooks.get('architect')
    if architect is not None:
        architect.start_epoch = 0
    lengths = {}
    for name, wanted in (('train', warmup + iterations), ('val', VAL_BATCHES)):
        loader = cfg.get(f'{name}_dataloader')
        if loader is None:
            continue
        lengths[name] = len(Runner.build_dataloader(loader, seed=0))
        if name == 'train' and lengths[name] < wanted:
            raise UserError(
                f'an epoch has {plural(lengths[name], "iteration")}, fewer than '
                f'--warmup {warmup} and '
                f'--iterations {iterations} together: set them, or the batch size, lower'
            )
        if lengths[name] > wanted:
            loader.num_batch_per_epoch = wanted
    return lengths


def measure(cfg: Config, iterations: int, warmup: int) -> dict[str, Any]:
    """Run a shortened search.

    Args:
        cfg (Config): The config; it is changed.
        iterations (int): Iterations to measure.
        warmup (int): Iterations before them.

    Returns:
        dict: Seconds of every section, of a mean ``iteration`` and of a whole ``epoch`` with
        its checkpoint and its share of the validations, and the ``batches`` of an epoch.
    """
    interval = cfg.train_cfg.get('val_interval', 1)
    with tempfile.TemporaryDirectory(prefix='rdarts_overhead_') as folder:
        cfg.work_dir = folder
        lengths = shorten(cfg, iterations, warmup)
        # the log is written as always, to nowhere
        with contextlib.redirect_stdout(io.StringIO()):
            runner = build_runner(cfg)
            recorder = Recorder(runner)
            runner.train()
    parts = recorder.parts
    iteration = mean(parts['train'][warmup:])
    epoch = scale(iteration, lengths['train']) + parts['train_end'][0]
    if parts['val']:
        batches, measured = lengths['val'], len(parts['val'])
        val = scale(mean(parts['val'][1:] or parts['val']), batches)
        val += scale(parts['val_end'][0], batches / measured)
        epoch += scale(val, 1 / interval)
    return dict(
        iteration={key: iteration[key] for key in SECTIONS},
        epoch={key: epoch[key] for key in SECTIONS},
        batches=lengths,
    )


def scale(seconds: Counter[str], factor: float) -> Counter[str]:
    """Every section times a factor."""
    return Counter({key: value * factor for key, value in seconds.items()})


def mean(rows: list[Counter[str]]) -> Counter[str]:
    """The mean of every section."""
    return scale(sum(rows, Counter()), 1 / len(rows))


def outside(seconds: dict[str, float]) -> float:
    """The share outside forward, backward and optimizers."""
    return 1 - seconds['compute'] / sum(seconds.values())


def print_table(result: dict[str, Any]) -> None:
    """The seconds and shares for people."""
    iteration, epoch = result['iteration'], result['epoch']
    totals = sum(iteration.values()), sum(epoch.values())
    print(f'{"":<34}{"ms an iteration":>16}{"share":>9}{"s an epoch":>13}{"share":>9}')
    for key, title in SECTIONS.items():
        print(
            f'{title:<34}{1000 * iteration[key]:>16.2f}{iteration[key] / totals[0]:>9.2%}'
            f'{epoch[key]:>13.2f}{epoch[key] / totals[1]:>9.2%}'
        )
    print(f'{"total":<34}{1000 * totals[0]:>16.2f}{"":>9}{totals[1]:>13.2f}')
    batches = ', '.join(
        f'{number} {"iterations" if name == "train" else "batches of validation"}'
        for name, number in result['batches'].items()
    )
    print(f'\nan epoch: {batches}, its checkpoint')
    print(
        f'outside forward, backward and optimizers: {outside(iteration):.2%} of an iteration, '
        f'{outside(epoch):.2%} of an epoch'
    )


def as_data(result: dict[str, Any], **given: Any) -> dict[str, Any]:
    """The figures in one flat object, with what they ran on.

    Args:
        result (dict): What :func:`measure` gave.
        **given: What was measured.
    """
    return dict(
        outside_share_iteration=outside(result['iteration']),
        outside_share_epoch=outside(result['epoch']),
        **{f'iteration_{key}_s': value for key, value in result['iteration'].items()},
        **{f'epoch_{key}_s': value for key, value in result['epoch'].items()},
        **{f'{key}_batches': value for key, value in result['batches'].items()},
        **given,
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu',
        torch=torch.__version__,
        python=platform.python_version(),
    )
