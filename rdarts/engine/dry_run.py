"""What a run would cost, measured on a few iterations of it."""

from __future__ import annotations

import contextlib
import copy
import datetime
import statistics
import tempfile
import time
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rdarts.engine.launch import build_runner
from rdarts.hooks.search_log import peak_memory_mb

ITERATIONS = 4  # the first one warms up


class _Stopwatch(Hook):
    """Seconds of every iteration, data included."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = dict(train=[], val=[])
        self._since = 0.0

    def before_train_epoch(self, runner) -> None:
        self._since = time.perf_counter()

    before_val_epoch = before_train_epoch

    def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode='train') -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[mode].append(now - self._since)
        self._since = now


def count_macs(model: nn.Module, image: torch.Tensor) -> int:
    """Multiply-adds of the convolutions and linear layers for one image.

    Args:
        model (nn.Module): The model.
        image (Tensor): [3, H, W].
    """
    training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image[None])
    model.train(training)
    return counter.get_total_flops() // 2


def dry_run(cfg: Config) -> dict[str, Any]:
    """Build a run, take a few iterations of each kind, and print what it would cost.

    Nothing is written into the run's own work directory.

    Args:
        cfg (Config): The config of the run.

    Returns:
        dict: ``parameters``, ``alphas`` (counts), ``macs`` (of one image), ``memory_mb`` (peak),
        ``seconds_per_iteration``, ``expected_seconds`` (of the whole run).
    """
    cfg = copy.deepcopy(cfg)
    max_epochs = cfg.train_cfg.max_epochs
    val_interval = cfg.train_cfg.get('val_interval', 1)
    with tempfile.TemporaryDirectory(prefix='rdarts_dry_run_') as folder:
        cfg.work_dir = folder
        cfg.train_cfg.max_epochs = 1
        cfg.train_cfg.val_interval = 1
        cfg.train_cfg.pop('val_begin', None)
        cfg.visualizer = dict(type='Visualizer', vis_backends=[])
        architect = cfg.default_hooks.get('architect')
        if architect is not None:
            architect.start_epoch = 0
        lengths = {}
        for name in ('train', 'val'):
            loader = cfg.get(f'{name}_dataloader')
            if loader is None:
                continue
            lengths[name] = len(Runner.build_dataloader(loader, seed=0))
            if lengths[name] > ITERATIONS:
                loader.num_batch_per_epoch = ITERATIONS
        runner = build_runner(cfg, quiet=True)
        watch = _Stopwatch()
        runner.register_hook(watch)
        with contextlib.redirect_stdout(None):
            runner.train()
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        batch = next(iter(runner.train_dataloader))
        image = model.data_preprocessor(batch, False)['inputs'][0]
        macs = count_macs(model, image)
    alpha = getattr(getattr(model, 'backbone', None), 'arch_parameters', {})
    alphas = sum(p.numel() for p in alpha.values())
    train = statistics.median(watch.seconds['train'][1:] or watch.seconds['train'])
    val = watch.seconds['val'][-1] if watch.seconds['val'] else 0.0
    validations = max_epochs // val_interval if 'val' in lengths else 0
    expected = max_epochs * lengths['train'] * train + validations * lengths.get('val', 0) * val
    result = dict(
        parameters=sum(p.numel() for p in model.parameters()) - alphas,
        alphas=alphas,
        macs=macs,
        memory_mb=peak_memory_mb(),
        seconds_per_iteration=train,
        expected_seconds=expected,
    )
    if is_main_process():
        print(
            f'parameters: {result["parameters"]:,} and {alphas:,} alphas\n'
            f'MACs:       {macs:,} a {tuple(image.shape)} image (convolutions, linear layers)\n'
            f'memory:     {result["memory_mb"]:,.0f} MB peak\n'
            f'iteration:  {train:.3f} s\n'
            f'expected:   {datetime.timedelta(seconds=round(expected))} for {max_epochs} epochs '
            f'of {lengths["train"]} iterations'
        )
    return result
