"""Seconds of a search step in every execution, and of the regularisers in it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from rdarts.measure.counts import Rates, count_work, measure_rates
from rdarts.measure.describe import describe, divide, heading
from rdarts.measure.roofline import Call, count_step
from rdarts.measure.search import Search, StepSeconds, clock_of
from rdarts.measure.settings import EXECUTIONS, StepSettings


def step_time(settings: StepSettings) -> dict[str, Any]:
    """Count the work of a step, time it, and give the figures of :func:`summarise`."""
    work, calls = count_work(settings), None
    if 'fused' in settings.executions:
        calls = count_step(Search(replace(settings, checkpoint=False), 'fused'))
    times, rates = measure(settings)
    return summarise(settings, times, work, rates, calls)


def measure(settings: StepSettings) -> tuple[dict[str, list[StepSeconds]], Rates]:
    """Run the steps, and matrix products and copies between them: other load hits all of them.

    What is random in a step, such as which candidates a relaxation samples, is the same in every
    execution.

    Returns:
        tuple[dict, float]: Execution, with ``_amp`` after it in bfloat16 -> what each step took;
        and the best rates of products and copies.
    """
    clock = clock_of(settings)
    rates = measure_rates(clock, device=settings.device)
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
        rates = rates.or_better(measure_rates(clock, 1, settings.device))
    return times, rates


def summarise(
    settings: StepSettings,
    times: dict[str, list[StepSeconds]],
    work: int,
    rates: Rates,
    calls: Sequence[Call] | None = None,
) -> dict[str, Any]:
    """The figures.

    Args:
        settings (StepSettings): The settings.
        times (dict): What steps took, as :func:`measure` gives it.
        work (int): FLOP of a step.
        rates (Rates): Of matrix products and copies.
        calls (Sequence[Call], optional): Of the operators of a step of fused.

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
    limit = work / rates.matrix
    roofline = None if calls is None else sum(call.seconds(rates) for call in calls)
    return dict(
        result,
        ratio=divide(plain, fused),
        limit_ratio=divide(limit, fused),
        plain_limit_ratio=divide(limit, plain),
        roofline_s=roofline,
        roofline_ratio=divide(roofline, fused),
        images_per_s=divide(2 * settings.batch_size, fused),
        plain_images_per_s=divide(2 * settings.batch_size, plain),
        regularizers_share=part / (fastest - part),
        work_gflop=work / 1e9,
        matrix_rate_gflops=rates.matrix / 1e9,
        copy_rate_gbytes=rates.copy / 1e9,
        **describe(settings),
    )


def print_table(settings: StepSettings, result: dict[str, Any]) -> None:
    """The same for people."""
    print(heading(settings))
    print(
        f'work {result["work_gflop"]:.2f} GFLOP a step; matrix products '
        f'{result["matrix_rate_gflops"]:.1f} GFLOP/s, copies '
        f'{result["copy_rate_gbytes"]:.1f} GB/s; {result["cpu"]}, torch {result["torch"]}\n'
    )
    unit = 'core s' if settings.processor_time else 's a step'
    print(f'{"execution":<24}{unit:>10}{"images/s":>10}{"x plain":>9}{"limit":>8}{"roofline":>10}')
    names = [f'{name}{end}' for end in ('', '_amp') for name in EXECUTIONS]
    plain, roofline = result['plain_s'], result['roofline_s']
    for name in names:
        seconds = result.get(f'{name}_s')
        if seconds is None:
            continue
        ratio = f'{plain / seconds:.2f}' if plain else '-'
        share = result['work_gflop'] / result['matrix_rate_gflops'] / seconds
        of_it = '-' if roofline is None else f'{roofline / seconds:.3f}'
        images = 2 * settings.batch_size / seconds
        print(f'{name:<24}{seconds:>10.4f}{images:>10.1f}{ratio:>9}{share:>8.3f}{of_it:>10}')
    print(
        f'\nimages/s: of L_train and of L_val together; limit: the work at the rate of matrix '
        "products, over the time; roofline:\nthe operators of fused at the machine's limits, over "
        'the time\n'
        f'regularisers add {result["regularizers_share"]:.2%} to a step of the fastest'
    )
    if settings.amp and not result['bf16_instructions']:
        print('This CPU has no bfloat16 instructions: PyTorch emulates them')
