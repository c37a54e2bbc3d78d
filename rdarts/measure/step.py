"""Seconds of a search step in every execution, and of the regularisers in it."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from rdarts.measure.counts import count_work, matrix_rate
from rdarts.measure.describe import describe, divide, heading
from rdarts.measure.search import Search, StepSeconds, clock_of
from rdarts.measure.settings import EXECUTIONS, StepSettings


def step_time(settings: StepSettings) -> dict[str, Any]:
    """Count the work of a step, time it, and give the figures of :func:`summarise`."""
    work = count_work(settings)
    times, rate = measure(settings)
    return summarise(settings, times, work, rate)


def measure(settings: StepSettings) -> tuple[dict[str, list[StepSeconds]], float]:
    """Run the steps, and matrix products between them: other load on the machine hits both.

    What is random in a step, such as which candidates a relaxation samples, is the same in every
    execution.

    Returns:
        tuple[dict, float]: Execution, with ``_amp`` after it in bfloat16 -> what each step took;
        and the best rate of the products, FLOP a second.
    """
    clock = clock_of(settings)
    rate = matrix_rate(clock)
    first = Search(settings, 'plain')
    state = {key: value.clone() for key, value in first.model.state_dict().items()}
    del first
    searches = {}
    for amp in (False, True) if settings.amp else (False,):
        for execution in settings.executions:
            name = f'{execution}_amp' if amp else execution
            searches[name] = Search(settings, execution, amp, state)
    times: dict[str, list[StepSeconds]] = {name: [] for name in searches}
    for step in range(settings.warmup + settings.steps):
        for name, search in searches.items():
            torch.manual_seed(settings.seed + step)
            seconds = search.step()
            if step >= settings.warmup:
                times[name].append(seconds)
        rate = max(rate, matrix_rate(clock, repeats=1))
    return times, rate


def summarise(
    settings: StepSettings,
    times: dict[str, list[StepSeconds]],
    work: int,
    rate: float,
) -> dict[str, Any]:
    """The figures.

    Args:
        settings (StepSettings): The settings.
        times (dict): What steps took, as :func:`measure` gives it.
        work (int): FLOP of a step.
        rate (float): FLOP a second of matrix products.

    Returns:
        dict: See the page on performance; ``None`` for what was not measured.
    """
    seconds = {name: statistics.median(step.whole for step in r) for name, r in times.items()}
    plain, fused = seconds.get('plain'), seconds.get('fused')
    exact = [step for name, rows in times.items() if '_amp' not in name for step in rows]
    part = statistics.median(step.regularizers for step in exact)
    # they cost the same in every execution, so they weigh most in the fastest
    fastest = min(value for name, value in seconds.items() if '_amp' not in name)
    result = {f'{name}_s': seconds.get(name) for name in EXECUTIONS}
    if settings.amp:
        result.update({f'{name}_amp_s': seconds.get(f'{name}_amp') for name in EXECUTIONS})
        result['amp_ratio'] = divide(fused, seconds.get('fused_amp'))
        result['plain_amp_ratio'] = divide(plain, seconds.get('plain_amp'))
    limit = work / rate
    return dict(
        result,
        ratio=divide(plain, fused),
        limit_ratio=divide(limit, fused),
        plain_limit_ratio=divide(limit, plain),
        images_per_s=divide(2 * settings.batch_size, fused),
        plain_images_per_s=divide(2 * settings.batch_size, plain),
        regularizers_share=part / (fastest - part),
        work_gflop=work / 1e9,
        matrix_rate_gflops=rate / 1e9,
        **describe(settings),
    )


def print_table(settings: StepSettings, result: dict[str, Any]) -> None:
    """The same for people."""
    print(heading(settings))
    print(
        f'work {result["work_gflop"]:.2f} GFLOP a step; matrix products '
        f'{result["matrix_rate_gflops"]:.1f} GFLOP/s; {result["cpu"]}, torch {result["torch"]}\n'
    )
    unit = 'core s' if settings.processor_time else 's a step'
    print(f'{"execution":<24}{unit:>10}{"images/s":>10}{"x plain":>9}{"limit":>8}')
    names = [f'{name}{end}' for end in ('', '_amp') for name in EXECUTIONS]
    plain = result['plain_s']
    for name in names:
        seconds = result.get(f'{name}_s')
        if seconds is None:
            continue
        ratio = f'{plain / seconds:.2f}' if plain else '-'
        share = result['work_gflop'] / result['matrix_rate_gflops'] / seconds
        images = 2 * settings.batch_size / seconds
        print(f'{name:<24}{seconds:>10.4f}{images:>10.1f}{ratio:>9}{share:>8.3f}')
    print(
        f'\nimages/s: of L_train and of L_val together; limit: the work at the rate of matrix '
        'products, over the time\n'
        f'regularisers add {result["regularizers_share"]:.2%} to a step of the fastest'
    )
    if settings.amp and not result['bf16_instructions']:
        print('This CPU has no bfloat16 instructions: PyTorch emulates them')


def profile(settings: StepSettings, top: int = 15) -> None:
    """Print where the time of a step of the last execution goes, by PyTorch's profiler."""
    execution = settings.executions[-1]
    search = Search(settings, execution)
    for _ in range(settings.warmup):
        search.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        for _ in range(settings.steps):
            search.step()
    rows = sorted(found.key_averages(), key=lambda row: row.self_cpu_time_total, reverse=True)
    total = sum(row.self_cpu_time_total for row in rows)
    print(heading(settings))
    print(f'\n{execution}, by the profiler, which itself lengthens what is in Python\n')
    print(f'{"operator":<48}{"ms a step":>10}{"share":>8}{"calls":>8}')
    for row in rows[:top]:
        seconds = row.self_cpu_time_total
        print(
            f'{row.key[:47]:<48}{seconds / 1e3 / settings.steps:>10.1f}{seconds / total:>8.1%}'
            f'{row.count / settings.steps:>8.0f}'
        )
