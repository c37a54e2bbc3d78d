"""A search step on one device, in every execution and precision: a table in Markdown.

Each execution has a process of its own, so that one that fails, even one that leaves its GPU
unusable, or does not end, is a row that says so.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import torch

from rdarts.engine.compiling import GRAPHS, check_architect, compile_backbone
from rdarts.errors import UserError, nearest
from rdarts.measure.apart import check_limit, in_short, run_apart
from rdarts.measure.describe import describe, divide, heading
from rdarts.measure.search import Search
from rdarts.measure.settings import StepSettings
from rdarts.models.kernels.backends import get_backend
from rdarts.utils.machine_errors import is_out_of_memory

# Execution -> which of a supernet it is, and the arguments of torch.compile where it is compiled
EXECUTIONS: dict[str, tuple[str, bool | dict[str, str]]] = {
    'plain': ('plain', False),
    'plain_channels_last': ('plain_channels_last', False),
    'compiled': ('plain_channels_last', True),
    'cuda_graph': ('plain_channels_last', dict(mode=GRAPHS)),
    'fused': ('fused', False),
    'fused_triton': ('fused_triton', False),
}
ON_GPU = ('cuda_graph', 'fused_triton')
PRECISIONS = dict(cuda=('float32', 'tf32', 'bfloat16'), cpu=('float32', 'bfloat16'))
COMPILED_WARMUP = 3  # steps: one compiles, the next warms a graph up, one records it


def check(device: str, executions: Sequence[str] | None) -> list[str]:
    """The executions that are measured on a device, in their order.

    Args:
        device (str): ``'cpu'`` or ``'cuda'``.
        executions (Sequence[str], optional): Some of ``EXECUTIONS``. Defaults to all that the
            device has.

    Raises:
        UserError: There is no such device here, or it has no such execution.
    """
    if device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: PyTorch finds no GPU here')
    known = [name for name in EXECUTIONS if device == 'cuda' or name not in ON_GPU]
    for name in executions or ():
        if name not in known:
            raise UserError(
                f"--executions: unknown execution '{name}' on {device}: {nearest(name, known)}"
            )
    return [name for name in known if executions is None or name in executions]


def table(
    settings: StepSettings,
    device: str,
    executions: Sequence[str],
    limit: float,
    command: Sequence[str],
) -> dict[str, Any]:
    """Measure each execution in a process of its own.

    Args:
        settings (StepSettings): Prepared ones; their executions do not count.
        device (str): ``'cpu'`` or ``'cuda'``.
        executions (Sequence[str]): As :func:`check` gives them.
        limit (float): Seconds that one may take, all its precisions together.
        command (Sequence[str]): Starts the tool, which prints a line of JSON for each of
            :func:`rows` with the settings as options, ``--device`` and ``--child EXECUTION``.

    Returns:
        dict: ``rows``, the settings, and what they ran on.

    Raises:
        UserError: The limit is not above 0, or more than 10^6.
    """
    check_limit('--limit', limit)
    options = ['--device', device, *settings.options('executions')]
    found = []
    for name in executions:
        print(f'{name} ...', file=sys.stderr)
        found += _apart([*command, '--child', name, *options], name, device, limit)
    by = {(row['execution'], row['precision']): row['seconds'] for row in found}
    for row in found:
        row['ratio'] = divide(by.get(('plain', 'float32')), row['seconds'])
        row['images_per_s'] = divide(2 * settings.batch_size, row['seconds'])
    return dict(
        describe(settings), executions=[*executions], limit=limit, **_on(device), rows=found
    )


def _on(device: str) -> dict[str, Any]:
    """What the table is of."""
    if device == 'cpu':
        return dict(device='cpu', cuda=None, cudnn=None, triton=None)
    try:
        triton = importlib.metadata.version('triton')
    except importlib.metadata.PackageNotFoundError:
        triton = None
    name, cudnn = torch.cuda.get_device_name(), torch.backends.cudnn.version()
    return dict(device=name, cuda=torch.version.cuda, cudnn=cudnn, triton=triton)


def _apart(
    command: Sequence[str], execution: str, device: str, limit: float
) -> list[dict[str, Any]]:
    """The rows of an execution; those that its process did not come to say why."""
    out, why = run_apart(command, limit, gpu=device != 'cpu')
    found = {row['precision']: row for row in _rows_in(out)}
    failure = in_short(why or 'it gave no such row')
    return [
        found.get(precision) or _row(execution, precision, failure=failure)
        for precision in PRECISIONS[device]
    ]


def _rows_in(out: str) -> Iterator[dict[str, Any]]:
    """The rows in what a process has printed, which may have said more, or was cut off."""
    keys = _row('', '').keys()
    for line in out.splitlines():
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and row.keys() == keys:
                yield row


def rows(settings: StepSettings, device: str, execution: str) -> Iterator[dict[str, Any]]:
    """Take the steps in this process, one precision after the other.

    Args:
        settings (StepSettings): Prepared ones; their executions do not count.
        device (str): ``'cpu'`` or ``'cuda'``.
        execution (str): One of ``EXECUTIONS``.

    Yields:
        dict: ``execution``, ``precision``, ``seconds`` (the median step), ``mb`` (the peak of
        memory on a GPU, in 2^20 bytes, with weights and all steps) and ``failure``, why there are
        none; None for what there is not.
    """
    for precision in PRECISIONS[device]:
        try:
            taken, mb = _measure(settings, device, execution, precision)
        except Exception as error:
            failure = 'out of memory' if is_out_of_memory(error) else str(error) or repr(error)
            yield _row(execution, precision, failure=in_short(failure))
        else:
            yield _row(execution, precision, statistics.median(taken), mb)
        # here the error, whose frames hold tensors, is gone
        if EXECUTIONS[execution][1]:
            torch.compiler.reset()
        gc.collect()
        if device == 'cuda':
            torch.cuda.empty_cache()


def _row(
    execution: str,
    precision: str,
    seconds: float | None = None,
    mb: float | None = None,
    failure: str | None = None,
) -> dict[str, Any]:
    return dict(execution=execution, precision=precision, seconds=seconds, mb=mb, failure=failure)


def _measure(
    settings: StepSettings, device: str, execution: str, precision: str
) -> tuple[list[float], float | None]:
    """Seconds of each step that counts, and the peak of memory, MB."""
    name, compiled = EXECUTIONS[execution]
    amp = precision == 'bfloat16'
    if name == 'fused_triton':
        dtype = torch.bfloat16 if amp else torch.float32
        reasons = get_backend('triton').unsupported_reasons(torch.device(device, 0), dtype, ())
        if reasons:
            raise UserError(f'declined: {reasons[0]}')
    if device == 'cuda':
        torch.backends.cuda.matmul.allow_tf32 = precision == 'tf32'
        torch.backends.cudnn.allow_tf32 = precision == 'tf32'  # PyTorch allows it by itself
        torch.cuda.reset_peak_memory_stats()
    search = Search(settings, name, amp, device=device)
    check_architect(compiled, search.architect)
    compile_backbone(search.model, compiled)
    warmup = max(settings.warmup, COMPILED_WARMUP) if compiled else settings.warmup
    taken = _take(search, settings, device, warmup)
    return taken, torch.cuda.max_memory_allocated() / 2**20 if device == 'cuda' else None


def _take(search: Search, settings: StepSettings, device: str, warmup: int) -> list[float]:
    """Seconds of steps after those that warm up; on a GPU they follow each other unwaited."""
    clock = time.process_time if settings.processor_time else time.perf_counter
    search.clock = clock  # its parts, for which it would wait for the GPU, are not asked for

    def step(number: int) -> None:
        torch.manual_seed(settings.seed + number)  # what is drawn is the same in every execution
        search.step()

    for number in range(warmup):
        step(number)
    numbers = range(warmup, warmup + settings.steps)
    if device == 'cuda':
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(settings.steps + 1)]
        torch.cuda.synchronize()
        marks[0].record()
        for number, mark in zip(numbers, marks[1:], strict=True):
            step(number)
            mark.record()
        torch.cuda.synchronize()
        return [one.elapsed_time(after) / 1000 for one, after in pairwise(marks)]
    times = [clock()]
    for number in numbers:
        step(number)
        times.append(clock())
    return [after - one for one, after in pairwise(times)]


def print_table(settings: StepSettings, result: Mapping[str, Any]) -> None:
    """The same for people, as Markdown for the page on performance."""
    versions = [f'PyTorch {result["torch"]}']
    for key, title in (('cuda', 'CUDA'), ('cudnn', 'cuDNN'), ('triton', 'Triton')):
        versions += [f'{title} {result[key]}'] if result[key] else []
    on = result['cpu'] if result['device'] == 'cpu' else f'{result["device"]} ({result["cpu"]})'
    unit = 'core ms' if settings.processor_time else 'ms'
    print(f'{heading(settings)}; {on}, {", ".join(versions)}\n')
    print(f'| execution | precision | {unit} a step | x plain float32 | images/s | peak, MB |')
    print('| --- | --- | --- | --- | --- | --- |')
    for row in result['rows']:
        cells = [row['execution'], row['precision']]
        if row['failure'] is None:
            cells += [f'{1000 * row["seconds"]:.2f}']
            cells += ['' if row['ratio'] is None else f'{row["ratio"]:.2f}']
            cells += [f'{row["images_per_s"]:,.0f}']
            cells += ['' if row['mb'] is None else f'{row["mb"]:,.0f}']
        else:
            cells += [row['failure'], '', '', '']
        print(f'| {" | ".join(cells)} |')
