"""Where the time of a step goes, by operator, beside what each operator cannot do without."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from rdarts.measure.counts import Rates, measure_rates
from rdarts.measure.describe import cpu_model, heading
from rdarts.measure.roofline import count_step, rooflines
from rdarts.measure.search import Search, now
from rdarts.measure.settings import StepSettings

NODE = 'autograd::engine::evaluate_function: '  # a node of the backward; its function is inside
BETWEEN = 'in between (Python)'
CLIP = 'clip of gradients'
NODES = ('_Fused', '_FusedBackward')  # all edges that leave a node


class Row(NamedTuple):
    """An operator in a step.

    Args:
        name (str): It; or what is not inside of one, such as the Python part of a function.
        seconds (float): That its calls took together.
        calls (float): How many there were.
        roofline (float): The least seconds that they take: 0 of what is no operator.
    """

    name: str
    seconds: float
    calls: float
    roofline: float = 0.0

    @property
    def loss(self) -> float:
        """Seconds beyond the roofline."""
        return self.seconds - self.roofline


class Parts(NamedTuple):
    """Where the seconds of a step are.

    Args:
        nodes (float): Inside the nodes of fused.
        optimizers (float): In optimizers and clips.
    """

    nodes: float
    optimizers: float


class StepProfile(NamedTuple):
    """A step, taken apart.

    Args:
        rows (list[Row]): The largest loss first.
        parts (Parts): Where its seconds are, of ``profiled``.
        profiled (float): Seconds of a step under the profiler, which lengthens it.
        whole (float): Seconds of a step without it.
        roofline (float): The least seconds of all operators.
        rates (Rates): Which the rooflines are of.
    """

    rows: list[Row]
    parts: Parts
    profiled: float
    whole: float
    roofline: float
    rates: Rates


def profile_step(settings: StepSettings) -> StepProfile:
    """Take a step of the last execution on the CPU apart, by PyTorch's profiler.

    Raises:
        UserError: The settings ask for bfloat16 or processor time.
    """
    settings.check_taken_apart('--profile')
    execution = settings.executions[-1]
    rates = measure_rates()
    # what is computed anew is no work that a step cannot do without
    counted = Search(replace(settings, checkpoint=False), execution, device='cpu')
    least = rooflines(count_step(counted), rates)
    del counted
    search = Search(settings, execution, device='cpu')
    for _ in range(settings.warmup):
        search.step()
    whole = statistics.median(_seconds_of(search) for _ in range(settings.steps))
    wrapper = search.optim_wrapper
    if wrapper.clip_grad_kwargs:
        wrapper.clip_func = torch.profiler.record_function(CLIP)(wrapper.clip_func)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        profiled = sum(_seconds_of(search) for _ in range(settings.steps)) / settings.steps
    events = found.events()
    rows, parts = rows_of(events, least, settings.steps), parts_of(events, settings.steps)
    rest = profiled - sum(row.seconds for row in rows)
    rows.append(Row(BETWEEN, max(0.0, rest), 1))
    return StepProfile(by_loss(rows), parts, profiled, whole, sum(least.values()), rates)


def _seconds_of(search: Search) -> float:
    start = now()
    search.step()
    return now() - start


def by_loss(rows: Iterable[Row]) -> list[Row]:
    """The largest loss first."""
    return sorted(rows, key=lambda row: row.loss, reverse=True)


def rows_of(events: Iterable[Any], least: Mapping[str, float], steps: int) -> list[Row]:
    """What a profile says of each operator, and of each event around operators.

    Args:
        events (Iterable): PyTorch's ``FunctionEvent``, each with its children.
        least (dict[str, float]): The roofline of each operator that is counted.
        steps (int): How many steps were profiled.
    """
    seconds: dict[str, float] = {}
    calls: dict[str, int] = {}
    waiting = [event for event in events if event.cpu_parent is None]
    while waiting:
        event = waiting.pop()
        name = event.name.removeprefix(NODE)
        if name in least:  # all that happens inside is its
            took = event.cpu_time_total
        else:
            took = event.self_cpu_time_total
            waiting += event.cpu_children
        seconds[name] = seconds.get(name, 0.0) + took / 1e6
        calls[name] = calls.get(name, 0) + (event.name == name)
    return [
        Row(name, took / steps, calls[name] / steps, least.get(name, 0.0))
        for name, took in seconds.items()
    ]


def parts_of(events: Iterable[Any], steps: int) -> Parts:
    """Where the seconds of a step are, from its profile.

    Args:
        events, steps: See :func:`rows_of`.
    """
    nodes = optimizers = 0.0
    waiting = [event for event in events if event.cpu_parent is None]
    while waiting:
        event = waiting.pop()
        name = event.name.removeprefix(NODE)
        if name in NODES:
            nodes += event.cpu_time_total
        elif name == CLIP or name.startswith('Optimizer.'):
            optimizers += event.cpu_time_total
        else:
            waiting += event.cpu_children
    return Parts(nodes / 1e6 / steps, optimizers / 1e6 / steps)


def print_profile(settings: StepSettings, top: int = 20) -> None:
    """Print :func:`profile_step`, the operators of the largest losses."""
    found = profile_step(settings)
    print(f'{heading(settings)}; {cpu_model()}, torch {torch.__version__}')
    print(
        f'\n{settings.executions[-1]}, by the profiler, which itself lengthens what is in Python; '
        'the largest loss first:\nms beyond the roofline, the larger of arithmetic at the rate of '
        f'matrix products ({found.rates.matrix / 1e9:.1f} GFLOP/s)\n'
        f'and of bytes at that of a copy ({found.rates.copy / 1e9:.1f} GB/s)\n'
    )
    print(
        f'{"operator":<44}{"ms a step":>10}{"share":>8}{"roofline":>10}{"quotient":>10}{"calls":>8}'
    )
    for row in found.rows[:top]:
        print(
            f'{row.name[:43]:<44}{1e3 * row.seconds:>10.1f}{row.seconds / found.profiled:>8.1%}'
            f'{1e3 * row.roofline:>10.2f}{_quotient(row.roofline, row.seconds):>10}'
            f'{row.calls:>8.0f}'
        )
    nodes, optimizers = (part / found.profiled for part in found.parts)
    python = sum(row.seconds for row in found.rows if not row.roofline) / found.profiled
    print(
        f'\nnodes {nodes:.1%}, outside of them {1 - nodes:.1%}, of which optimizers and clips '
        f'{optimizers:.1%}; in all of it {python:.1%} are Python, views and fresh memory'
    )
    print(
        f'whole step, without the profiler: {1e3 * found.whole:.1f} ms, roofline '
        f'{1e3 * found.roofline:.1f} ms, quotient {found.roofline / found.whole:.2f}'
    )


def _quotient(roofline: float, seconds: float) -> str:
    return f'{roofline / seconds:.2f}' if roofline and seconds else '-'
