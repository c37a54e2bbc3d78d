"""A search step beside others: alone, beside a second search, beside a busy program, under a quota.

Processes of their own take the steps, which start to count together; the cases take turns.
"""

from __future__ import annotations

import contextlib
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdarts.errors import UserError
from rdarts.measure.child import Child
from rdarts.measure.settings import StepSettings
from rdarts.utils import machine

QUOTA = 1.0  # cores
PERIOD = 100_000  # microseconds
# What OpenMP does where neither its policy nor these are set
SPINNING = {'GOMP_SPINCOUNT': '300000', 'KMP_BLOCKTIME': '200'}
TITLES = dict(
    alone='alone',
    spinning='alone, spinning as OpenMP does by itself',
    one='alone, one thread',
    second='beside a second search',
    busy='beside a busy program',
    quota='under a quota of one core',
)
# Ratio -> the cases whose quotient it is, and the most that it may be
RATIOS = dict(
    cost_alone=('alone', 'spinning', 1.03),
    second=('second', 'alone', 2.1),
    busy=('busy', 'alone', 2.0),
    quota=('quota', 'one', 1.1),
)


# A process that takes steps


def take_steps(settings: StepSettings) -> dict[str, Any]:
    """Warm up, wait for a line on stdin, take steps until the next one.

    Returns:
        dict: ``step_seconds``, those of each, and what they ran on.
    """
    # slow to load, and of no use to who only starts others
    from rdarts.measure.describe import describe
    from rdarts.measure.search import Search

    settings = settings.prepare()
    search = Search(settings, settings.executions[0])
    for _ in range(settings.warmup):
        search.step()
    print('ready', flush=True)
    sys.stdin.readline()
    seconds: list[float] = []
    while len(seconds) < settings.steps or not select.select([sys.stdin], [], [], 0)[0]:
        seconds.append(search.step().whole)
    return dict(step_seconds=seconds, **describe(settings))


# The cases


@contextlib.contextmanager
def quota_group() -> Iterator[Path | None]:
    """A control group of one core; None where none may be made."""
    group = None
    for parent in reversed(machine.cgroup_folders('cpu')):
        group = make_group(parent)
        if group is not None:
            break
    try:
        yield group
    finally:
        if group is not None:
            group.rmdir()


def make_group(parent: Path) -> Path | None:
    """A control group below another, limited to ``QUOTA``; None where that cannot be."""
    group = parent / f'rdarts_neighbours_{os.getpid()}'
    quota = str(int(QUOTA * PERIOD))
    try:
        group.mkdir()
    except OSError:
        return None
    try:
        if (group / 'cpu.cfs_quota_us').exists():
            (group / 'cpu.cfs_period_us').write_text(str(PERIOD))
            (group / 'cpu.cfs_quota_us').write_text(quota)
            return group
        if not (group / 'cpu.max').exists():  # version 2 limits only what is asked for
            (parent / 'cgroup.subtree_control').write_text('+cpu')
        if (group / 'cpu.max').exists():
            (group / 'cpu.max').write_text(f'{quota} {PERIOD}')
            return group
    except OSError:
        pass
    group.rmdir()
    return None


@dataclass(frozen=True)
class Neighbours:
    """What is measured.

    Args:
        settings (StepSettings): The step, with one execution, in float32.
        command (Sequence[str]): Starts a process that calls :func:`take_steps`; the settings follow
            as options.
        seconds (float): To measure a case in a round. Defaults to 10.
        rounds (int): Of all cases. Defaults to 3.

    Raises:
        UserError: Something is out of range.
    """

    settings: StepSettings
    command: Sequence[str]
    seconds: float = 10.0
    rounds: int = 3

    def __post_init__(self) -> None:
        if not self.seconds > 0 or self.rounds < 1:
            raise UserError('--seconds must be positive, and --rounds 1 or more')
        if len(self.settings.executions) != 1 or self.settings.amp:
            raise UserError('one of --executions at a time, in float32')


def measure_case(plan: Neighbours, case: str, group: Path | None) -> list[dict[str, Any]]:
    """One case, once.

    Args:
        plan (Neighbours): What is measured.
        case (str): A key of ``TITLES``.
        group (Path, optional): The control group of the quota.

    Returns:
        list[dict]: What each of its searches has measured.
    """
    command = [*plan.command, *plan.settings.options('threads')]
    threads = plan.settings.threads
    env = {machine.THREADS: str(threads)} if threads else {}
    if case == 'spinning':
        env.update(SPINNING)
    if case == 'one':
        env[machine.THREADS] = '1'
    if case == 'quota':
        env = {}  # the tool decides
    children: list[Child] = []
    busy = None
    try:
        for _ in range(2 if case == 'second' else 1):
            children.append(Child(command, env, group if case == 'quota' else None))
        for child in children:
            child.wait_until_ready()
        if case == 'busy':
            busy = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
        for child in children:
            child.tell()
        time.sleep(plan.seconds)
        for child in children:
            child.tell()
        return [child.result() for child in children]
    finally:
        for child in children:
            child.kill()
        if busy is not None:
            busy.kill()
            busy.wait()


def measure(plan: Neighbours) -> dict[str, list[dict[str, Any]]]:
    """All cases, in turn, in each of the rounds.

    Returns:
        dict: Case -> what its searches have measured; without the quota where there can be none.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    with quota_group() as group:
        for _ in range(plan.rounds):
            for case in TITLES:
                if case != 'quota' or group is not None:
                    found.setdefault(case, []).extend(measure_case(plan, case, group))
    return found


# Output


def summarise(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The figures.

    Args:
        found (dict): As :func:`measure` gives it.

    Returns:
        dict: ``<case>_s``, the median of a step, and ``<case>_threads``; ``<name>_ratio``;
        ``exceeded``, the ratios that are more than they may be. ``None`` for what was not measured.
    """
    result: dict[str, Any] = {}
    for case in TITLES:
        runs = found.get(case, [])
        steps = [second for run in runs for second in run['step_seconds']]
        result[f'{case}_s'] = statistics.median(steps) if steps else None
        result[f'{case}_threads'] = runs[0]['threads'] if runs else None
        result[f'{case}_steps'] = len(steps)
    exceeded = []
    for name, (over, under, most) in RATIOS.items():
        left, right = result[f'{over}_s'], result[f'{under}_s']
        ratio = None if left is None or right is None else left / right
        result[f'{name}_ratio'] = ratio
        if ratio is not None and ratio > most:
            exceeded.append(name)
    described = next(iter(found.values()))[0]
    left_out = ('step_seconds', 'threads')
    described = {key: value for key, value in described.items() if key not in left_out}
    return dict(result, exceeded=exceeded, **described)


def print_table(result: dict[str, Any]) -> None:
    """The same for people."""
    print(f'{result["cpu"]}, torch {result["torch"]}, {machine.usable_cores().reason}\n')
    print(f'{"case":<42}{"threads":>8}{"steps":>7}{"s a step":>10}')
    for case, title in TITLES.items():
        if result[f'{case}_s'] is None:
            print(f'{title:<42}not measured: no control group can be made here')
        else:
            print(
                f'{title:<42}{result[f"{case}_threads"]:>8}{result[f"{case}_steps"]:>7}'
                f'{result[f"{case}_s"]:>10.4f}'
            )
    print(f'\n{"ratio":<60}{"is":>7}{"at most":>9}')
    for name, (over, under, most) in RATIOS.items():
        ratio = result[f'{name}_ratio']
        is_ = '-' if ratio is None else f'{ratio:.2f}'
        mark = '  too much' if name in result['exceeded'] else ''
        print(f'{f"{TITLES[over]} / {TITLES[under]}":<60}{is_:>7}{most:>9.2f}{mark}')
