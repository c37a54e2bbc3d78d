"""Peak memory of a search step in every execution, each in a process of its own."""

from __future__ import annotations

import gc
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rdarts.errors import RunFailed
from rdarts.measure.apart import run_apart
from rdarts.measure.describe import describe, divide, heading
from rdarts.measure.peak_memory import Peak, read_mb
from rdarts.measure.search import Search
from rdarts.measure.settings import EXECUTIONS, StepSettings


def measure(
    settings: StepSettings, execution: str, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Take the steps in this process.

    Args:
        settings (StepSettings): Prepared ones.
        execution (str): One of ``EXECUTIONS``, with ``_amp`` after it in bfloat16.
        changes (dict, optional): See :class:`Search`. Defaults to none.

    Returns:
        dict: ``idle_mb``, ``mb`` (the peak above it) and ``read_by``, how it was found;
        ``seconds``, the median of a step after those of the warm-up.
    """
    amp = execution.endswith('_amp')
    search = Search(settings, execution.removesuffix('_amp'), amp, changes=changes)
    gc.collect()
    idle = read_mb('VmRSS')
    with Peak() as peak:
        steps = [search.step() for _ in range(settings.warmup + settings.steps)]
    seconds = statistics.median(step.whole for step in steps[settings.warmup :])
    return dict(idle_mb=idle, mb=peak.mb - idle, read_by=peak.method, seconds=seconds)


def measure_apart(
    settings: StepSettings, execution: str, command: Sequence[str], limit: float | None = None
) -> dict[str, Any]:
    """The same in a fresh process.

    Args:
        settings (StepSettings): Prepared ones.
        execution (str): One of ``EXECUTIONS``, with ``_amp`` after it in bfloat16.
        command (Sequence[str]): Starts the tool that prints what :func:`measure` gives, as JSON,
            with the settings as options and ``--child EXECUTION``.
        limit (float, optional): Seconds that it may take. Defaults to none.

    Raises:
        RunFailed: It has failed, or took longer; the line says why.
    """
    options = replace(settings, executions=[execution.removesuffix('_amp')]).options('amp')
    out, why = run_apart([*command, '--child', execution, *options], limit, gpu=False)
    if why:
        raise RunFailed(f'{execution}: {why}')
    return json.loads(out.splitlines()[-1])


def step_memory(settings: StepSettings, command: Sequence[str]) -> dict[str, Any]:
    """The figures of :func:`summarise`, each execution measured apart.

    Args:
        settings (StepSettings): Prepared ones.
        command (Sequence[str]): See :func:`measure_apart`.
    """
    names = [*settings.executions, *(f'{e}_amp' for e in settings.executions if settings.amp)]
    return summarise(settings, {name: measure_apart(settings, name, command) for name in names})


def summarise(settings: StepSettings, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures.

    Args:
        settings (StepSettings): The settings.
        found (dict): Execution -> what :func:`measure` gave.

    Returns:
        dict: ``None`` for what was not measured.
    """
    ends = ('', '_amp') if settings.amp else ('',)
    result: dict[str, Any] = {}
    for name in [f'{name}{end}' for end in ends for name in EXECUTIONS]:
        result[f'{name}_mb'] = found[name]['mb'] if name in found else None
        result[f'{name}_idle_mb'] = found[name]['idle_mb'] if name in found else None
    return dict(
        result,
        ratio=divide(result['fused_mb'], result['plain_mb']),
        read_by=sorted({values['read_by'] for values in found.values()}),
        **describe(settings),
    )


def print_table(settings: StepSettings, result: dict[str, Any]) -> None:
    """The same for people."""
    print(f'{heading(settings)}\n')
    print(f'{"execution":<24}{"peak above idle, MB":>20}{"idle, MB":>10}{"x plain":>9}')
    plain = result['plain_mb']
    for key, peak in result.items():
        name = key.removesuffix('_mb')
        if f'{name}_idle_mb' not in result or peak is None:
            continue
        ratio = f'{peak / plain:.2f}' if plain else '-'
        print(f'{name:<24}{peak:>20.1f}{result[f"{name}_idle_mb"]:>10.1f}{ratio:>9}')
    print(f'\nMB of 2^20 bytes; the peak of resident memory by {" and ".join(result["read_by"])}')
