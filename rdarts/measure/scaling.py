"""How a step scales with threads: as a whole, and by operator."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from rdarts.errors import UserError
from rdarts.measure.counts import Rates, measure_rates
from rdarts.measure.describe import cpu_model, heading
from rdarts.measure.roofline import count_step
from rdarts.measure.search import Search, now
from rdarts.measure.settings import StepSettings
from rdarts.measure.step_profile import rows_of
from rdarts.utils.wording import plural


class Scaling(NamedTuple):
    """Seconds of a step, of one thread and of all.

    Args:
        one (float): Of one thread, the median over steps.
        all (float): Of all threads.
        efficiency (float): One over the number of threads times all: the median over pairs of steps
            one after another. 1 where twice the threads take half of the time.
        rates (list[Rates]): Of one thread and of all: what the machine itself gains from them.
        operators (list[tuple[str, float, float]]): Of each operator its name and, by the profiler,
            its seconds in a step of one thread and of all; what loses most comes first.
    """

    one: float
    all: float
    efficiency: float
    rates: list[Rates]
    operators: list[tuple[str, float, float]]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(settings: StepSettings) -> Scaling:
    """Steps of the last execution, of one thread and of ``settings.threads`` in turns.

    Raises:
        UserError: There is but one thread, or the settings ask for bfloat16 or processor time.
    """
    if settings.threads < 2:
        raise UserError('--scaling needs 2 --threads or more')
    settings.check_taken_apart('--scaling')
    search = Search(settings, settings.executions[-1], device='cpu')
    names = {call.name for call in count_step(search)}
    numbers = (1, settings.threads)
    seconds: dict[int, list[float]] = {number: [] for number in numbers}
    for step in range(settings.warmup + settings.steps):
        for number in numbers:
            took = _step(search, number)
            if step >= settings.warmup:
                seconds[number].append(took)
    one, several = seconds.values()
    quotients = [a / (settings.threads * b) for a, b in zip(one, several, strict=True)]
    return Scaling(
        statistics.median(one),
        statistics.median(several),
        statistics.median(quotients),
        [_rates(number) for number in numbers],
        _operators(search, settings, names),
    )


def _step(search: Search, threads: int) -> float:
    with _threads(threads):
        start = now()
        search.step()
        return now() - start


def _rates(threads: int) -> Rates:
    with _threads(threads):
        return measure_rates()


def _operators(
    search: Search, settings: StepSettings, names: set[str]
) -> list[tuple[str, float, float]]:
    found: list[dict[str, float]] = []
    for number in (1, settings.threads):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as events:
            for _ in range(settings.steps):
                _step(search, number)
        rows = rows_of(events.events(), dict.fromkeys(names, 0.0), settings.steps)
        found.append({row.name: row.seconds for row in rows})
    one, several = found
    both = [(name, one[name], several[name]) for name in one if name in several]
    return sorted(both, key=lambda row: row[1] - settings.threads * row[2])


def print_table(settings: StepSettings, found: Scaling, top: int = 20) -> None:
    """Print :func:`measure`'s figures, and the operators that lose most."""
    threads = plural(settings.threads, 'thread')
    print(f'{heading(settings)}; {cpu_model()}, torch {torch.__version__}')
    print(
        f'\nby the profiler, ms of a step; what loses most with {threads} first; scaling: one '
        f'thread / {settings.threads} times {threads}\n'
    )
    print(f'{"operator":<44}{"one thread":>12}{threads:>12}{"scaling":>9}{"lost":>8}')
    for name, one, several in found.operators[:top]:
        scaling = f'{one / (settings.threads * several):.2f}' if several else '-'
        lost = 1e3 * (several - one / settings.threads)
        print(f'{name[:43]:<44}{1e3 * one:>12.1f}{1e3 * several:>12.1f}{scaling:>9}{lost:>8.1f}')
    for name, one, several in zip(('matrix products', 'copies'), *found.rates, strict=True):
        scaling = several / (settings.threads * one)
        print(f'{"the machine: " + name:<77}{scaling:>9.2f}')
    print(
        f'\nwhole step, without the profiler: one thread {1e3 * found.one:.1f} ms, {threads} '
        f'{1e3 * found.all:.1f} ms, scaling {found.efficiency:.2f}'
    )
