"""Which execution a search takes whose config leaves it open."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import nn

from rdarts.architect.gradients import only_training
from rdarts.checkpoint.schema import Text, check_entry
from rdarts.models.backbones.base_supernet import EXECUTIONS, BaseSupernet
from rdarts.models.kernels import precision
from rdarts.registry import HOOKS
from rdarts.utils.random_state import preserve_random_state

TIMED = ('plain', 'fused')
ITERATIONS = 3  # of each, after one that warms up
KEY = 'execution'


@HOOKS.register_module()
class ExecutionHook(Hook):
    """Decides for a supernet of ``execution='auto'``, in the first iteration of a search.

    Where native kernels take what every node reads, it runs ``'fused'``. Elsewhere (on a GPU, for
    numbers of channels that are no multiple of 8, without a compiler) both executions are timed
    for a few iterations and the quicker one runs. A copy of the model is timed on a copy of the
    batch: no random number, statistic of a batch norm or batch of the search is spent. The first
    rank decides for all, and checkpoints hold the choice, so that a resumed run keeps it. With
    ``randomness.deterministic``, where two runs must not differ, nothing is timed: it is
    ``'fused'``.

    Attributes:
        clock (Callable): Seconds, for what is timed.
    """

    priority = 'VERY_HIGH'  # before alpha's first step
    clock = staticmethod(time.perf_counter)

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        """See mmengine."""
        model = _unwrapped(runner.model)
        supernet = _find_supernet(model)
        if supernet is None or supernet.execution != 'auto':
            return
        if (runner.cfg.get('randomness') or {}).get('deterministic'):
            choice, why = 'fused', 'not timed, as randomness.deterministic is set'
        else:
            args = (model, supernet, data_batch, runner.optim_wrapper)
            choice, why = choose_execution(*args, self.clock)
        decided = [choice, why]
        broadcast_object_list(decided)
        supernet.execution, why = decided
        runner.logger.info(f'execution {supernet.execution}: {why}')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """See mmengine."""
        supernet = _find_supernet(_unwrapped(runner.model))
        if supernet is not None:
            checkpoint[KEY] = supernet.execution

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """See mmengine.

        Raises:
            EntryError: What the checkpoint holds is no execution.
        """
        supernet = _find_supernet(_unwrapped(runner.model))
        if not runner._resume or supernet is None or KEY not in checkpoint:
            return
        check_entry(checkpoint[KEY], Text(EXECUTIONS), KEY)
        if supernet.execution == 'auto':
            supernet.execution = checkpoint[KEY]


def choose_execution(
    model: nn.Module,
    supernet: BaseSupernet,
    batch: Any,
    optim_wrapper: OptimWrapper,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[str, str]:
    """The execution that suits a model, and why.

    Args:
        model (nn.Module): Of mmengine, without a wrapper; left as it is.
        supernet (BaseSupernet): Its supernet.
        batch (dict): Of the training loader; left as it is.
        optim_wrapper (OptimWrapper): Of the weights, for the precision.
        clock (Callable): Seconds.

    Returns:
        tuple[str, str]: ``'plain'`` or ``'fused'``, and a few words for the log.
    """
    with optim_wrapper.optim_context(model):
        weight = next(p for p in supernet.parameters() if p.dim() > 1)
        reasons = supernet.native_kernel_reasons(precision.compute_dtype(weight))
    if not reasons:
        return 'fused', 'native kernels take every node'
    seconds = _time(model, batch, optim_wrapper, clock)
    choice = min(TIMED, key=lambda name: seconds.get(name, float('inf')))
    timed = ', '.join(
        f'{name} {seconds[name]:.3g} s an iteration' if name in seconds else f'{name} out of memory'
        for name in TIMED
    )
    return choice, f'{timed} (native kernels decline: {reasons[0]})'


def _time(
    model: nn.Module, batch: Any, optim_wrapper: OptimWrapper, clock: Callable[[], float]
) -> Mapping[str, float]:
    """Seconds of an iteration of each execution whose memory suffices; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in TIMED}
    with preserve_random_state():
        twin = copy.deepcopy(model)
        supernet = _find_supernet(twin)
        for _ in range(1 + ITERATIONS):
            for name in list(seconds):
                supernet.execution = name
                try:
                    begin = _now(twin, clock)
                    _iterate(twin, supernet, batch, optim_wrapper)
                    seconds[name].append(_now(twin, clock) - begin)
                except torch.OutOfMemoryError:
                    if len(seconds) == 1:
                        raise
                    del seconds[name]
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}


def _iterate(
    model: nn.Module, supernet: BaseSupernet, batch: Any, optim_wrapper: OptimWrapper
) -> None:
    """The passes of one iteration: of alpha's step (first order) and of the weights'."""
    alphas = list(supernet.arch_parameters.values())
    weights = [p for p in model.parameters() if p.requires_grad]
    with only_training(alphas, weights), supernet.alpha_phase():
        _backward(model, batch, optim_wrapper, alphas)
    _backward(model, batch, optim_wrapper, weights)


def _backward(
    model: nn.Module, batch: Any, optim_wrapper: OptimWrapper, inputs: list[nn.Parameter]
) -> None:
    with optim_wrapper.optim_context(model):
        data = model.data_preprocessor(copy.deepcopy(batch), True)
        losses = model._run_forward(data, mode='loss')
    torch.autograd.grad(model.parse_losses(losses)[0], inputs, allow_unused=True)


def _now(model: nn.Module, clock: Callable[[], float]) -> float:
    device = next(model.parameters()).device
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return clock()


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model


def _find_supernet(model: nn.Module) -> BaseSupernet | None:
    return next((one for one in model.modules() if isinstance(one, BaseSupernet)), None)
