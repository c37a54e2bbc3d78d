"""What the operators of a step cannot do without: their arithmetic and their bytes, counted.

Of each call of an operator the roofline is the larger of two times: of its floating-point work at
the rate of matrix products, and of its bytes (each input read once, each result written once) at
the rate of a copy. Views, and memory that is only set aside, cost nothing. A step of an optimizer
counts as one call: it reads each weight and gradient and reads and writes its state once, however
many operators it is made of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from rdarts.measure.counts import Rates, own_formulas
from rdarts.measure.search import Search

# Operators that take no more than the shape of what they are given
SHAPE_ALONE = {
    *('empty_like', 'zeros_like', 'ones_like', 'full_like', 'rand_like', 'randn_like'),
    *('new_empty', 'new_empty_strided', 'new_zeros', 'new_ones', 'new_full', 'empty_images'),
}
# Those that write nothing into what they give
NOT_WRITTEN = {
    *('empty', 'empty_like', 'empty_strided', 'new_empty', 'new_empty_strided', 'empty_images'),
    'resize_',
}
# Those that write over what they are given, without reading it
WRITTEN_OVER = {
    *('copy_', 'fill_', 'zero_', 'normal_', 'uniform_', 'random_', 'bernoulli_', 'exponential_'),
    *('input_grad', 'standard_normal'),
}


class Call(NamedTuple):
    """One call of an operator.

    Args:
        name (str): The operator, as PyTorch's profiler names it.
        flop (int): Floating-point operations of products and convolutions.
        bytes (int): What it must read and write.
    """

    name: str
    flop: int
    bytes: int

    def seconds(self, rates: Rates) -> float:
        """The least that it takes."""
        return max(self.flop / rates.matrix, self.bytes / rates.copy)


def rooflines(calls: Iterable[Call], rates: Rates) -> dict[str, float]:
    """The least seconds of all calls of each operator."""
    found: dict[str, float] = defaultdict(float)
    for call in calls:
        found[call.name] += call.seconds(rates)
    return dict(found)


def count_step(search: Search) -> list[Call]:
    """The calls of a step of a search, one step after its first, in which optimizers get a state.

    Where candidates are drawn, those of the seed's draw.
    """
    search.step()
    with count_calls() as calls:
        search.step()
    return calls


@contextmanager
def count_calls() -> Iterator[list[Call]]:
    """Within, each call of an operator is added to a list."""
    counter = _Counter()
    hooks = [
        register_optimizer_step_pre_hook(counter.begin_optimizer),
        register_optimizer_step_post_hook(counter.end_optimizer),
    ]
    try:
        with counter:
            yield counter.calls
    finally:
        for hook in hooks:
            hook.remove()


class _Counter(TorchDispatchMode):
    """Counts what runs, but for the inside of an optimizer's step."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.in_optimizer = False
        self.formulas = own_formulas()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        read = _read(func, args, kwargs)
        out = func(*args, **kwargs)
        if not self.in_optimizer:
            packet = func.overloadpacket
            formula = self.formulas.get(packet) or flop_registry.get(packet)
            flop = 0 if formula is None else formula(*args, **kwargs, out_val=out)
            written = _written(func, args, kwargs, out)
            self.calls.append(Call(func.name().split('.')[0], int(flop), read + written))
        return out

    def begin_optimizer(self, optimizer: torch.optim.Optimizer, *args: Any) -> None:
        self.in_optimizer = True

    def end_optimizer(self, optimizer: torch.optim.Optimizer, *args: Any) -> None:
        self.in_optimizer = False
        moved = [p for group in optimizer.param_groups for p in group['params']]
        moved = [p for p in moved if p.grad is not None]
        state = [leaf for p in moved for leaf in _tensors(optimizer.state[p])]
        total = 2 * _size([*moved, *state]) + _size([p.grad for p in moved])
        self.calls.append(Call(f'Optimizer.step#{type(optimizer).__name__}.step', 0, total))


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _size(tensors: Iterable[Tensor]) -> int:
    """Bytes in memory of all of them, of each once; what is expanded is there once."""
    sizes = {}
    for one in tensors:
        kept = [(size, step) for size, step in zip(one.shape, one.stride(), strict=True) if step]
        numbers = 0 if one.numel() == 0 else prod(size for size, _ in kept)
        sizes[one.data_ptr(), one.dtype, tuple(kept)] = numbers * one.element_size()
    return sum(sizes.values())


def _arguments(func: Any, args: tuple, kwargs: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Each argument of a call that was given, as its schema has it, and its value."""
    for place, argument in enumerate(func._schema.arguments):
        if place < len(args):
            yield argument, args[place]
        elif argument.name in kwargs:
            yield argument, kwargs[argument.name]


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _is_view(func: Any) -> bool:
    """Whether all that it gives is the memory of its arguments, seen otherwise."""
    if func._opname == '_unsafe_view':
        return True
    given = [one.alias_info for one in func._schema.returns]
    return bool(given) and all(one is not None and not one.is_write for one in given)


def _read(func: Any, args: tuple, kwargs: dict[str, Any]) -> int:
    """Bytes that a call must read."""
    name = func._opname
    if name in SHAPE_ALONE or _is_view(func):
        return 0
    arguments = list(_arguments(func, args, kwargs))
    # what results are added to is read; what they are put into is not
    added = next((value for one, value in arguments if one.name == 'accumulate'), True)
    found: list[Tensor] = []
    for argument, value in arguments:
        tensors = _tensors(value)
        if _is_written(argument):
            if argument.is_out or name in WRITTEN_OVER:
                continue
            flags = added if isinstance(added, (list, tuple)) else [added] * len(tensors)
            tensors = [one for one, flag in zip(tensors, flags, strict=True) if flag]
        found += tensors
    return _size(found)


def _written(func: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> int:
    """Bytes that a call must write."""
    if func._opname in NOT_WRITTEN or _is_view(func):
        return 0
    found = [
        one
        for argument, value in _arguments(func, args, kwargs)
        if _is_written(argument)
        for one in _tensors(value)
    ]
    return _size([*found, *_tensors(out)])
