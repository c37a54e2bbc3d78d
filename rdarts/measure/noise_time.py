"""Nanoseconds that a number of noise takes, by who draws it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rdarts.measure.describe import cpu_model
from rdarts.models.kernels import standard_normal, use_backend
from rdarts.models.kernels.backends import has_cpp

DTYPES = (torch.float32, torch.float64)


def _drawers() -> dict[str, Any]:
    """Who draws -> what fills a tensor."""

    def by(backend: str) -> Any:
        def fill(out: Tensor) -> None:
            with use_backend(backend):
                standard_normal(out)

        return fill

    compiled = {'C++': by('cpp')} if has_cpp() else {}
    return {**compiled, 'NumPy': by('torch'), "torch's normal_": Tensor.normal_}


def measure(numbers: int = 1 << 20, repeats: int = 9, threads: int = 1) -> dict[str, Any]:
    """Draw in turns.

    Args:
        numbers (int): Drawn at once. Defaults to 2^20.
        repeats (int): Turns that count, after one that does not. Defaults to 9.
        threads (int): Of PyTorch. Defaults to 1.

    Returns:
        dict: ``ns``, by who draws and then by type: nanoseconds of the processors a number, the
        median; the arguments and what it ran on.
    """
    torch.set_num_threads(threads)
    drawers = _drawers()
    taken = {(name, dtype): [] for name in drawers for dtype in DTYPES}
    outs = {dtype: torch.empty(numbers, dtype=dtype) for dtype in DTYPES}
    for _ in range(repeats + 1):
        for (name, dtype), seconds in taken.items():
            start = time.process_time()
            drawers[name](outs[dtype])
            seconds.append(time.process_time() - start)
    found = {name: {} for name in drawers}
    for (name, dtype), seconds in taken.items():
        median = statistics.median(seconds[1:])
        found[name][str(dtype).removeprefix('torch.')] = 1e9 * median / numbers
    return dict(
        ns=found,
        numbers=numbers,
        repeats=repeats,
        threads=threads,
        cpu=cpu_model(),
        torch=torch.__version__,
    )


def print_table(result: Mapping[str, Any]) -> None:
    """The same for people, as Markdown."""
    print(f'{result["numbers"]:,} numbers, {result["cpu"]}, torch {result["torch"]}\n')
    print('| drawn by | float32, core ns | float64, core ns |')
    print('| --- | --- | --- |')
    for name, row in result['ns'].items():
        print(f'| {name} | {row["float32"]:.2f} | {row["float64"]:.2f} |')
