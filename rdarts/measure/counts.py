"""What a network or a step computes, counted; and how fast this machine could do it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import torch
from mmengine.analysis import FlopAnalyzer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rdarts.measure.search import Search, now
from rdarts.measure.settings import StepSettings
from rdarts.models.multiply_adds import plain_execution

MATRIX_SIZES = (1024, 1536, 2048)
COPY_NUMBERS = 2**25  # of 4 bytes: more than caches hold


class Rates(NamedTuple):
    """What this machine can do, with the threads that are set.

    Args:
        matrix (float): FLOP a second of float32 matrix products.
        copy (float): Bytes a second that a copy reads and writes, together.
    """

    matrix: float
    copy: float

    def or_better(self, other: Rates) -> Rates:
        """The better of each of two measurements: other programs only take away."""
        return Rates(*map(max, self, other))


def _convolution_backward(
    grad_shape: Sequence[int],
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    *args: Any,
    out_shape: Any = None,
    **kwargs: Any,
) -> int:
    """FLOP of the gradients that are asked for: each costs what the forward pass does.

    PyTorch's own formula counts the weight gradient of a grouped convolution ``groups`` times.
    """
    output_mask = args[-1]
    forward = 2 * grad_shape[0] * prod(grad_shape[2:]) * prod(weight_shape)
    return forward * (bool(output_mask[0]) + bool(output_mask[1]))


def own_formulas() -> dict[Any, Callable[..., int]]:
    """The formulas of operators that PyTorch's own do not count well, by operator.

    They are called as those of ``torch.utils.flop_counter.flop_registry`` are.
    """
    formulas = {torch.ops.aten.convolution_backward: _convolution_backward}
    known = FlopCounterMode(display=False, custom_mapping=formulas).flop_registry
    return {operator: known[operator] for operator in formulas}


def count_flop(function: Callable[[], Any]) -> int:
    """Floating-point operations of the convolutions and linear layers that run, both ways.

    A multiply-add counts as two. What autograd leaves out (the gradient of the images, of what
    is frozen, of what reaches no alpha) is not counted.
    """
    with FlopCounterMode(display=False) as counter:
        counter.flop_registry.update(own_formulas())
        function()
    return counter.get_total_flops()


def count_work(settings: StepSettings) -> int:
    """FLOP that a step cannot do without: those of the plain execution, nothing computed twice.

    Where candidates are drawn, those of the seed's draw.
    """
    return count_flop(Search(replace(settings, checkpoint=False), 'plain').step)


def matrix_rate(clock: Callable[[], float] = now, repeats: int = 5, device: str = 'cpu') -> float:
    """FLOP a second of float32 matrix products: the best of a few, with the threads that are set.

    Args:
        clock (Callable): Gives the seconds. Defaults to :func:`~rdarts.measure.search.now`.
        repeats (int): Products of each size. Defaults to 5.
        device (str): Where. Defaults to the CPU.
    """
    best = 0.0
    for size in MATRIX_SIZES:
        left, right = torch.randn(2, size, size, device=device)
        torch.mm(left, right)
        for _ in range(repeats):
            start = clock()
            torch.mm(left, right)
            best = max(best, 2 * size**3 / (clock() - start))
    return best


def copy_rate(clock: Callable[[], float] = now, repeats: int = 5, device: str = 'cpu') -> float:
    """Bytes a second that a copy of a large float32 tensor reads and writes: the best of a few.

    Args:
        clock, repeats, device: See :func:`matrix_rate`.
    """
    source = torch.ones(COPY_NUMBERS, device=device)
    target = torch.zeros_like(source)  # pages that were never written would be made on the way
    best = 0.0
    for _ in range(repeats):
        start = clock()
        target.copy_(source)
        best = max(best, 2 * source.numel() * source.element_size() / (clock() - start))
    return best


def measure_rates(clock: Callable[[], float] = now, repeats: int = 5, device: str = 'cpu') -> Rates:
    """Both rates; for the arguments see :func:`matrix_rate`."""
    return Rates(matrix_rate(clock, repeats, device), copy_rate(clock, repeats, device))


def count_activations(model: nn.Module, image: Tensor) -> int:
    """Numbers in the outputs of all convolutions and linear layers."""
    total = 0

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal total
        total += output.numel()

    handles = [
        module.register_forward_hook(hook)
        for module in model.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    try:
        with torch.no_grad(), plain_execution(model):
            model(image[None])
    finally:
        for handle in handles:
            handle.remove()
    return total


def count_all(model: nn.Module, image: Tensor) -> int | None:
    """mmengine's count, which has norms and pooling too; None where it cannot trace."""
    logging.getLogger('mmengine.analysis').setLevel(logging.ERROR)
    try:
        counter = FlopAnalyzer(model, (image[None],))
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return int(counter.total())
    except Exception:  # its tracer fails in any way on what it does not know
        return None
