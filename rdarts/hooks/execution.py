"""Which execution a search takes whose config leaves it open."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from torch import nn

from rdarts.architect.architect import Architect
from rdarts.checkpoint.schema import Text, check_entry
from rdarts.engine.facts import Facts
from rdarts.models.backbones.base_supernet import SUPERNET_EXECUTIONS, BaseSupernet
from rdarts.models.kernels import precision
from rdarts.models.kernels.backends import get_backend
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.registry import HOOKS
from rdarts.utils.logging import untold
from rdarts.utils.machine_errors import is_out_of_memory
from rdarts.utils.memory import forget_peak, main_memory, peak_memory, resident_memory
from rdarts.utils.random_state import preserve_random_state
from rdarts.utils.wrapped import unwrapped

TRITON = 'fused_triton'
ITERATIONS = 3  # of each, after one that warms up
PLAIN_TAKES = 4  # times the memory of fused, at most (docs/en/performance.md)
KEY = 'execution'
NO_MEMORY = 'needs more memory than there is'


@HOOKS.register_module()
class ExecutionHook(Hook):
    """Decides for a supernet of ``execution='auto'``, in the first iteration of a search.

    Where native kernels take what every node reads, it runs ``'fused'``. Elsewhere (on a GPU, for
    numbers of channels that are no multiple of 8, without a compiler) the executions are timed
    for a few iterations (alpha's gradient as the search takes it, and the weights' step) and the
    quickest one that fits into memory runs: fused, fused with kernels in Triton where a GPU takes
    them, or plain. Copies of the model, the optimizer and the batch are
    timed: no random number, statistic of a batch norm or batch of the search is spent. The first
    rank decides for all, and checkpoints hold the choice, so that a resumed run keeps it. With
    ``randomness.deterministic``, where two runs must not differ, nothing is timed: it is
    ``'fused'``. So it is where a module's ``forward`` was replaced, as activation checkpointing
    does it: a copy would run the search's own modules.

    Attributes:
        clock (Callable): Seconds, for what is timed.
    """

    priority = 'VERY_HIGH'  # before alpha's first step
    clock = staticmethod(time.perf_counter)

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        """See mmengine."""
        model = unwrapped(runner.model)
        supernet = _find_supernet(model)
        if supernet is None or supernet.execution != 'auto':
            return
        if (runner.cfg.get('randomness') or {}).get('deterministic'):
            choice, why = 'fused', 'not timed, as randomness.deterministic is set'
        else:
            args = (model, supernet, data_batch, runner.optim_wrapper)
            choice, why = choose_execution(*args, Facts.of(runner).architect, self.clock)
        decided = [choice, why]
        broadcast_object_list(decided)
        supernet.execution, why = decided
        runner.logger.info(f'execution {supernet.execution}: {why}')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """See mmengine."""
        supernet = _find_supernet(unwrapped(runner.model))
        if supernet is not None:
            checkpoint[KEY] = supernet.execution

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """See mmengine.

        Raises:
            EntryError: What the checkpoint holds is no execution.
        """
        supernet = _find_supernet(unwrapped(runner.model))
        if not runner._resume or supernet is None or KEY not in checkpoint:
            return
        check_entry(checkpoint[KEY], Text(SUPERNET_EXECUTIONS), KEY)
        if supernet.execution == 'auto':
            supernet.execution = checkpoint[KEY]


def choose_execution(
    model: nn.Module,
    supernet: BaseSupernet,
    batch: Any,
    optim_wrapper: OptimWrapper,
    architect: Architect | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[str, str]:
    """The execution that suits a model, and why.

    Args:
        model (nn.Module): Of mmengine, without a wrapper; left as it is.
        supernet (BaseSupernet): Its supernet.
        batch (dict): Of the training loader; left as it is.
        optim_wrapper (OptimWrapper): Of the weights.
        architect (Architect, optional): Of the search; without one, the weights' step alone is
            timed. Defaults to none.
        clock (Callable): Seconds.

    Returns:
        tuple[str, str]: ``'plain'``, ``'fused'`` or ``'fused_triton'``, and a few words for the
        log.
    """
    if not any(isinstance(module, MixedOp) for module in supernet.modules()):
        return 'fused', 'there is no mixed operation that it could change'
    with optim_wrapper.optim_context(model):
        weight = next(p for p in supernet.parameters() if p.dim() > 1)
        dtype = precision.compute_dtype(weight)
        reasons = supernet.native_kernel_reasons(dtype)
    if not reasons:
        return 'fused', 'native kernels take the images of every node'
    declined = f'native kernels decline: {reasons[0]}'
    if any('forward' in vars(module) for module in model.modules()):
        return 'fused', f'not timed, as a module has a forward of its own, no copy ({declined})'
    names = ['fused', 'plain']  # what takes less memory first
    if not get_backend('triton').unsupported_reasons(weight.device, dtype, ()):
        names.insert(1, TRITON)
    found = _time(names, model, batch, optim_wrapper, architect, clock)
    seconds = {name: taken for name, taken in found.items() if isinstance(taken, float)}
    timed = ', '.join(
        f'{name} {taken:.3g} s an iteration' if name in seconds else f'{name} {taken}'
        for name, taken in found.items()
    )
    return min(seconds, key=seconds.get), f'{timed} ({declined})'


def _time(
    names: Sequence[str],
    model: nn.Module,
    batch: Any,
    optim_wrapper: OptimWrapper,
    architect: Architect | None,
    clock: Callable[[], float],
) -> dict[str, float | str]:
    """Seconds of an iteration of each execution, or why it cannot run; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    failures: dict[str, str] = {}
    need = 0  # bytes of a fused iteration
    with preserve_random_state(), untold():
        # together, so that the copied optimizer has the copied weights
        twin, wrapper = copy.deepcopy((model, optim_wrapper))
        _drop_replaced_methods(wrapper)
        supernet = _find_supernet(twin)
        own = None if architect is None else architect.of_copy(twin, wrapper)
        for turn in range(1 + ITERATIONS):
            for name in [name for name in names if name not in failures]:
                if name == 'plain' and turn == 0 and not _fits(need):
                    failures[name] = NO_MEMORY
                    continue
                supernet.execution = name
                data = copy.deepcopy(batch)
                resident = resident_memory()
                begin = _now(twin, clock)
                try:
                    _iterate(twin, wrapper, own, data)
                except Exception as error:
                    is_last = len(failures) + 1 == len(names)
                    failure = _failure(name, error)
                    if is_last or failure is None:
                        raise
                    failures[name] = failure
                    continue
                seconds[name].append(_now(twin, clock) - begin)
                if name == 'fused':
                    need = max(0, peak_memory() - resident)
    del twin, wrapper, own
    forget_peak()
    return {
        name: failures[name] if name in failures else statistics.median(taken[1:])
        for name, taken in seconds.items()
    }


def _failure(name: str, error: Exception) -> str | None:
    """Why an execution is left out for an error; None where that is an error of the search."""
    if is_out_of_memory(error):
        return NO_MEMORY
    # Triton compiles on the user's machine: whatever it lacks there, a search can do without it
    line = (str(error).strip() or type(error).__name__).partition('\n')[0]
    return f'fails ({line})' if name == TRITON else None


def _drop_replaced_methods(wrapper: OptimWrapper) -> None:
    """Of a copy: schedulers put a `step` that counts in place of the wrapper's, the original's."""
    for name in list(vars(wrapper)):
        if callable(getattr(type(wrapper), name, None)):
            delattr(wrapper, name)


def _fits(need: int) -> bool:
    """Whether plain has room where fused took so many bytes: it takes up to four times as much."""
    memory = main_memory()
    return torch.cuda.is_available() or memory is None or PLAIN_TAKES * need <= memory.free


def _iterate(
    model: nn.Module, wrapper: OptimWrapper, architect: Architect | None, batch: Any
) -> None:
    """An iteration of a search on a copy: alpha's gradient, and a step of the weights."""
    if architect is None:
        model.train_step(batch, wrapper)
    else:
        architect.rehearse(batch)


def _now(model: nn.Module, clock: Callable[[], float]) -> float:
    device = next(model.parameters()).device
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return clock()


def _find_supernet(model: nn.Module) -> BaseSupernet | None:
    return next((one for one in model.modules() if isinstance(one, BaseSupernet)), None)
