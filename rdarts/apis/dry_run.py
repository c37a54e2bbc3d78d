"""What a run would cost, measured on a few iterations of it."""

from __future__ import annotations

import contextlib
import copy
import datetime
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import broadcast, get_dist_info, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from rdarts.architect.transitions import Ended
from rdarts.configuration.notes import note_lines
from rdarts.engine.checkpoint_hook import AtomicCheckpointHook
from rdarts.engine.facts import Facts, Place
from rdarts.engine.first_lines import align, alpha_owner, can_recompute, num_alphas
from rdarts.engine.phase_checks import check_phases
from rdarts.engine.phase_runs import PhaseRuns
from rdarts.engine.phases import StartPhaseHook
from rdarts.engine.progress import RunPlan
from rdarts.engine.runner import asks, build_runner
from rdarts.errors import Interrupted
from rdarts.hooks.architect_hook import ArchitectHook
from rdarts.hooks.initial_weights import INITIAL
from rdarts.hooks.search_log import peak_memory_mb
from rdarts.models.multiply_adds import count_macs
from rdarts.utils.commands import shown_path
from rdarts.utils.memory import memory_line, tight_memory
from rdarts.utils.stop_signals import catch_signals, signal_name
from rdarts.utils.wording import plural
from rdarts.utils.wrapped import unwrapped

WARMUP = 2  # iterations of each kind that do not count
LEAST, MOST = 3, 40  # iterations that count, however long they take
SECONDS = 10.0  # in between
Clock = Callable[[], float]


class _Enough(Exception):
    """Enough was measured."""


class Stopwatch(Hook):
    """Seconds of an iteration, images included; ends training or validation when it knows them.

    Start-up does not count: neither building, nor what comes before the first iterations. It
    measures until ``SECONDS`` have passed, within ``LEAST`` and ``MOST`` iterations, or to the
    end of the epoch; of an epoch of few iterations it warms up on all but the last.

    Args:
        clock (Callable): Seconds. Defaults to ``time.perf_counter``.
        seconds (float, optional): How long it measures. Defaults to ``SECONDS``.
    """

    priority = 'LOWEST'

    def __init__(self, clock: Clock = time.perf_counter, seconds: float | None = None) -> None:
        self._clock = clock
        self._seconds = SECONDS if seconds is None else seconds
        self._ends: dict[str, list[float]] = {}
        self._begin = dict(train=0.0, val=0.0)

    def before_train_epoch(self, runner) -> None:
        self._begin['train'], self._ends['train'] = self._clock(), []

    def before_val_epoch(self, runner) -> None:
        self._begin['val'], self._ends['val'] = self._clock(), []

    def before_alpha_iter(self, runner, index: int, count: int) -> None:
        if 'alpha' not in self._ends:
            self._begin['alpha'], self._ends['alpha'] = self._clock(), []

    def after_alpha_iter(self, runner, index: int, count: int) -> None:
        self._lap('alpha', index + 1 == count)

    before_pass_iter, after_pass_iter = before_alpha_iter, after_alpha_iter

    def seconds_of_pass(self, count: int) -> float | None:
        """Of so many steps of alpha, or batches, by themselves; None where there was none."""
        return count * self.seconds('alpha') if 'alpha' in self._ends else None

    def seconds(self, mode: str) -> float:
        """The mean of the iterations that count."""
        ends = [self._begin[mode], *self._ends[mode]]
        ends = ends[min(WARMUP, len(ends) - 2) :]
        return (ends[-1] - ends[0]) / (len(ends) - 1)

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = 'train',
    ) -> None:
        loader = runner.train_dataloader if mode == 'train' else runner.val_dataloader
        self._lap(mode, batch_idx + 1 == len(loader))

    def _lap(self, mode: str, last: bool) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends = self._ends[mode]
        ends.append(self._clock())
        count = len(ends) - WARMUP
        long_enough = count >= LEAST and ends[-1] - ends[WARMUP - 1] >= self._seconds
        enough = torch.tensor(int(long_enough or count >= MOST or last))
        if get_dist_info()[1] > 1:
            # all ranks stop at one iteration
            broadcast(enough)
        if enough:
            raise _Enough


def dry_run(cfg: Config, seconds: float | None = None) -> dict[str, Any]:
    """Build a run, take iterations of each kind, and print what it would cost.

    The time is that of all iterations, validations and ends of epochs, without the start-up.
    Nothing is written into the run's own work directory.

    A search in phases is measured phase by phase. What a phase takes over from the one before is of
    one that was only built: which candidates a transition keeps here says nothing of the search.

    Args:
        cfg (Config): The config of the run.
        seconds (float, optional): How long iterations of each kind are measured, but of queries and
            of a search in phases. Defaults to 10.

    Returns:
        dict: ``parameters``, ``alphas`` (counts), ``macs`` (of one image), ``iterations`` (of all
        epochs), ``memory_mb`` (peak), ``seconds_per_iteration`` (in a search, of alpha and the
        weights), ``seconds_at_rest`` (of the weights alone; None where alpha moves from the first
        epoch on, or by itself), ``seconds_per_pass`` (over images after an epoch of the weights;
        None where there is none), ``expected_seconds`` (of the whole run). Of a search that asks:
        ``memory_mb``, ``seconds_per_query`` and ``expected_seconds``. Of a search in phases:
        ``phases``, a list of these, and ``memory_mb`` and ``expected_seconds`` of all, branches
        included.

    Raises:
        Interrupted: By Ctrl-C, SIGTERM or a closed terminal, at once.
        UserError: Phases do not fit each other.
    """
    with _stops_at_once():
        if cfg.get('phases'):
            return _measure_phases(copy.deepcopy(cfg))
        if asks(cfg):
            return _measure_queries(copy.deepcopy(cfg))
        return _measure(copy.deepcopy(cfg), seconds=seconds)[0]


def _measure_phases(cfg: Config) -> dict[str, Any]:
    runs = PhaseRuns(cfg)
    check_phases(runs)
    found = []
    last = None if runs.init is None else runs.initial('cpu')
    if is_main_process() and runs.init is not None:
        print(f'phase 1 of {len(runs.phases)}: {shown_path(runs.init)}, which has ended')
    for phase in runs.to_run:
        branches = runs.branches(phase)
        many = f', {len(branches)} times' if len(branches) > 1 else ''
        if is_main_process():
            print(f'phase {phase.index + 1} of {len(runs.phases)}{many}:')
        if asks(phase.cfg):
            found.append(_measure_queries(runs.config(phase, branches[0]), last))
            continue
        start = StartPhaseHook(
            phase,
            runs.transitions[phase.index],
            None if last is None else partial(_on_device, last),
            only_built=True,
        )
        result, model = _measure(runs.config(phase, branches[0]), [start], phase.index)
        found.append(result)
        last = Ended(phase.cfg, model)
    counts = [len(runs.branches(phase)) for phase in runs.to_run]
    expected = sum(
        count * one['expected_seconds'] for count, one in zip(counts, found, strict=True)
    )
    memory = max(one['memory_mb'] for one in found)
    if is_main_process():
        epochs = sum(count * one.epochs for count, one in zip(counts, runs.to_run, strict=True))
        duration = datetime.timedelta(seconds=round(expected))
        whole = f'{duration} for {plural(epochs, "epoch")} of all phases'
        print(align([('memory', f'{memory:,.0f} MB peak'), ('expected', whole)]))
    return dict(phases=found, memory_mb=memory, expected_seconds=expected)


def _measure_queries(cfg: Config, last: Ended | None = None) -> dict[str, Any]:
    """Of a search that asks; after a phase, of the supernet that this one only built."""
    with tempfile.TemporaryDirectory(prefix='rdarts_dry_run_') as folder:
        cfg.work_dir = folder
        if last is not None:
            cfg.supernet = os.path.join(folder, 'supernet.pth')
            for name in (cfg.supernet, os.path.join(folder, INITIAL)):  # it was not trained
                torch.save(dict(state_dict=last.model.state_dict()), name)
        _say('reading what answers ...')
        runner = build_runner(cfg, quiet=True)
        _say(f'timing queries: about {SECONDS:.0f} s, or {LEAST} queries ...')
        with contextlib.redirect_stdout(None):
            seconds = runner.measure(SECONDS, LEAST)
    expected = runner.budget * seconds
    memory = peak_memory_mb()
    if is_main_process():
        lines = [
            ('memory', f'{memory:,.0f} MB peak; {memory_line()}'),
            ('query', f'{seconds:.3g} s'),
            (
                'expected',
                f'{datetime.timedelta(seconds=round(expected))} for '
                f'{plural(runner.budget, "query")}',
            ),
        ]
        long = runner.strategy.long_after
        if long is not None:
            name = type(runner.strategy).__name__
            lines.append(('besides', f'what {name} computes after {plural(long, "query")}'))
        print(align([*note_lines(cfg), *lines]))
    return dict(memory_mb=memory, seconds_per_query=seconds, expected_seconds=expected)


def _on_device(last: Ended, device: torch.device) -> Ended:
    return Ended(last.cfg, last.model.to(device))


def _measure(
    cfg: Config, hooks: Sequence[Hook] = (), phase: int | None = None, seconds: float | None = None
) -> tuple[dict[str, Any], nn.Module]:
    max_epochs = cfg.train_cfg.max_epochs
    val_interval = cfg.train_cfg.get('val_interval', 1)
    with tempfile.TemporaryDirectory(prefix='rdarts_dry_run_') as folder:
        cfg.work_dir = folder
        cfg.train_cfg.val_interval = 1
        val_begin = cfg.train_cfg.pop('val_begin', 1)
        cfg.visualizer = dict(type='Visualizer', vis_backends=[])
        architect, rest = (cfg.get('default_hooks') or {}).get('architect'), 0
        if architect is not None:
            rest = min(architect.get('start_epoch', 0), max_epochs)
            architect.start_epoch = 0
        _say('building the network and reading the data ...')
        runner = build_runner(cfg, quiet=True)
        Facts.of(runner).place = Place(Path(folder), phase)
        for hook in runner.hooks:
            if isinstance(hook, AtomicCheckpointHook):
                hook.dry_run = True
        watch = Stopwatch(seconds=seconds)
        for hook in (*hooks, watch):
            runner.register_hook(hook)
        validation = 0.0
        about = SECONDS if seconds is None else seconds
        _say(f'timing iterations: about {about:.0f} s, or {LEAST} iterations ...')
        with contextlib.redirect_stdout(None):
            with contextlib.suppress(_Enough):
                runner.train()
            train, at_rest = watch.seconds('train'), None
            own = Facts.of(runner).architect
            passes, of_pass = max_epochs - rest, len(getattr(own, 'loader', None) or ())
            if own is not None and own.passes(max_epochs):
                passes, of_pass = own.passes(max_epochs), len(runner.train_dataloader)
                own.epoch = max_epochs - 1  # by which one is due
            with contextlib.suppress(_Enough):
                runner.call_hook('after_iterations')
            alpha = watch.seconds_of_pass(of_pass)
            if rest and alpha is None:
                _say('timing iterations of the weights alone ...')
                at_rest = _seconds_at_rest(runner, watch, max_epochs)
            begin = time.perf_counter()
            runner.call_hook('after_train_epoch')
            epoch_end = time.perf_counter() - begin
            if runner.val_loop is not None:
                _say('timing a validation ...')
                with contextlib.suppress(_Enough):
                    runner.val_loop.run()
                validation = len(runner.val_dataloader) * watch.seconds('val')
            runner.call_hook('after_train')
        plan = RunPlan(
            epochs=max_epochs,
            iterations=len(runner.train_dataloader),
            val_batches=0 if runner.val_loop is None else len(runner.val_dataloader),
            val_interval=val_interval,
            val_begin=val_begin,
        )
        model = unwrapped(runner.model)
        batch = next(iter(runner.train_dataloader))
        image = model.data_preprocessor(batch, False)['inputs'][0]
        macs = count_macs(model, image)
    alphas = num_alphas(alpha_owner(model))
    mean = train if at_rest is None else (rest * at_rest + (max_epochs - rest) * train) / max_epochs
    trials = getattr(runner.train_loop, 'trials', 0)  # of a selection: a validation each
    expected = plan.seconds(mean, validation, epoch_end) + passes * (alpha or 0.0)
    expected += trials * validation
    result = dict(
        parameters=sum(p.numel() for p in model.parameters()) - alphas,
        alphas=alphas,
        macs=macs,
        iterations=max_epochs * plan.iterations,
        memory_mb=peak_memory_mb(),
        seconds_per_iteration=train,
        seconds_at_rest=at_rest,
        seconds_per_pass=alpha,
        expected_seconds=expected,
    )
    if is_main_process():
        at_first = f'in the first {plural(rest, "epoch")}: alpha rests'
        alone = '' if at_rest is None else f', and {at_rest:.3f} s {at_first}'
        own_pass = []
        if alpha is not None:
            over = f"alpha's images, after each of the last {plural(passes, 'epoch')}"
            if own.passes(max_epochs):
                over = f'the training images, after {plural(passes, "epoch")}'
            own_pass = [('pass', f'{alpha:.1f} s over {over}')]
        duration = datetime.timedelta(seconds=round(expected))
        lines = [
            ('parameters', f'{result["parameters"]:,} and {alphas:,} alphas'),
            ('MACs', f'{macs:,} a {tuple(image.shape)} image (convolutions, linear layers)'),
            ('memory', f'{result["memory_mb"]:,.0f} MB peak; {memory_line()}'),
            ('iteration', f'{train:.3f} s{alone}'),
            *own_pass,
            *(
                [('selection', f'{plural(trials, "trial")} of {validation:.1f} s')]
                if trials
                else []
            ),
            (
                'expected',
                f'{duration} for {plural(max_epochs, "epoch")} of '
                f'{plural(plan.iterations, "iteration")}',
            ),
        ]
        print(align([*note_lines(cfg), *lines]))
        recomputes = can_recompute(getattr(model, 'backbone', None))
        warning = tight_memory(result['memory_mb'], recomputes)
        if warning:
            print(warning)
    return result, model


@contextlib.contextmanager
def _stops_at_once() -> Iterator[None]:
    """Within, a signal that ends a run ends at once what has nothing to save, and says so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    process = os.getpid()

    def stop(number: int, frame: Any) -> None:
        if os.getpid() != process:  # a forked worker
            os._exit(128 + number)
        received.append(number)
        raise KeyboardInterrupt

    handlers = catch_signals(stop)
    try:
        yield
    except BaseException:  # libraries make others of a KeyboardInterrupt
        if not received:
            raise
        name = signal_name(received[0])
        raise Interrupted(
            f'stopped by {name}: of a dry run nothing is written', received[0]
        ) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    """What goes on, on stderr: what is printed at the end may be read by a program."""
    if is_main_process():
        print(text, file=sys.stderr, flush=True)


def _seconds_at_rest(runner, watch: Stopwatch, epochs: int) -> float:
    """Seconds of an iteration in which alpha rests."""
    for hook in runner.hooks:
        if isinstance(hook, ArchitectHook):
            hook.times.start_epoch = epochs
    runner.call_hook('before_train_epoch')
    runner.model.train()
    with contextlib.suppress(_Enough):
        for index, batch in enumerate(runner.train_dataloader):
            runner.train_loop.run_iter(index, batch)
    return watch.seconds('train')
