"""What it costs that the processes of a search speak: their steps, and those of others that do not.

Each rank is a process of its own. The same number of processes that do not speak takes turns with
them, and so does one process alone.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rdarts.errors import RunFailed, UserError
from rdarts.measure.child import Child
from rdarts.measure.settings import StepSettings
from rdarts.utils import machine
from rdarts.utils.wording import plural

MOST = 1.08  # together / apart
CASES = ('alone', 'apart', 'together')


# A process that takes steps


def take_turns(settings: StepSettings, join: Callable[[Any], Any] | None = None) -> None:
    """Warm up, then take ``settings.steps`` steps for each line on stdin, until it ends.

    The seconds of a step are printed after each turn, and at last what the steps ran on. What
    libraries print, as gloo does, goes to stderr.

    Args:
        settings (StepSettings): With one execution.
        join (Callable, optional): Of a rank: joins the group, and wraps the model as a search of
            several ranks does. Defaults to none: the process does not speak.
    """
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    # slow to load
    import torch

    from rdarts.measure.describe import describe
    from rdarts.measure.search import Search

    settings = settings.prepare()
    search = Search(settings, settings.executions[0])
    torch.manual_seed(0)  # images are a process's own; what is drawn is the same in all
    if join is not None:
        search.trained = join(search.model)
    for _ in range(settings.warmup):
        search.step()
    print('ready', file=answers, flush=True)
    while sys.stdin.readline():
        start = search.clock()
        for _ in range(settings.steps):
            search.step()
        print(json.dumps((search.clock() - start) / settings.steps), file=answers, flush=True)
    print(json.dumps(describe(settings)), file=answers, flush=True)


# Who starts them


@dataclass(frozen=True)
class Ranks:
    """What is measured.

    Args:
        settings (StepSettings): The step of one rank, with one execution, in float32. Its number of
            threads is by default a rank's part of the cores.
        command (Sequence[str]): Starts a process that calls :func:`take_turns`; the settings, and
            ``--speak`` for one that speaks, follow as options.
        ranks (int): Processes. Defaults to 2.
        rounds (int): Turns of each case. Defaults to 10.

    Raises:
        UserError: Something is out of range.
    """

    settings: StepSettings
    command: Sequence[str]
    ranks: int = 2
    rounds: int = 10

    def __post_init__(self) -> None:
        if self.ranks < 2 or self.rounds < 1:
            raise UserError('--ranks must be 2 or more, and --rounds 1 or more')
        cores = machine.usable_cores()
        if self.ranks > max(2, cores.count):
            raise UserError(
                f'--ranks must be {max(2, cores.count)} or less here, but is {self.ranks}: '
                f'{cores.reason}'
            )
        if len(self.settings.executions) != 1 or self.settings.amp:
            raise UserError('one of --executions at a time, in float32')


def measure(plan: Ranks) -> dict[str, Any]:
    """All cases in each of the rounds, each of which begins with another one.

    Returns:
        dict: Case -> for each round, the seconds of a step of each process; and ``described``, what
        they ran on.

    Raises:
        UserError: The settings have a mistake.
        RunFailed: A process has ended early, and so all are ended; the line says which, and why.
    """
    from torch.distributed import TCPStore  # slow

    own_threads = plan.settings.threads
    threads = machine.share_of_cores(plan.ranks) if own_threads is None else own_threads
    settings = replace(plan.settings, threads=threads).prepare()  # refused before any is started
    command = [*plan.command, *settings.options('seed')]
    seeds = range(settings.seed, settings.seed + plan.ranks)  # of each one's own batch
    # held from here on, as by torchrun: a port that is let go may be another program's
    store = TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    env = {machine.THREADS: str(threads)}
    children: list[Child] = []
    try:
        for seed in seeds:  # one by one, so that all that began are ended
            children.append(Child([*command, '--seed', str(seed)], env))
        for rank, seed in enumerate(seeds):
            own = {**env, **_environment(rank, plan.ranks, store.port)}
            children.append(Child([*command, '--seed', str(seed), '--speak'], own))
        apart, together = children[: plan.ranks], children[plan.ranks :]
        named = {child: f'process {i}, which does not speak,' for i, child in enumerate(apart)}
        named |= {child: f'rank {rank}' for rank, child in enumerate(together)}
        for child in children:
            _wait(child, named)
            child.wait_until_ready()
        of_case = dict(alone=apart[:1], apart=apart, together=together)
        found: dict[str, Any] = {case: [] for case in CASES}
        for turn in range(plan.rounds):
            first = turn % len(CASES)
            for case in (*CASES[first:], *CASES[:first]):
                those = of_case[case]
                for child in those:
                    child.tell()
                answers = []
                for child in those:
                    _wait(child, named)
                    answers.append(child.answer())
                found[case].append(answers)
        for child in children:  # ranks end together
            child.end()
        return dict(found, described=[child.result() for child in children].pop())
    finally:
        for child in children:
            child.kill()


def _wait(child: Child, named: Mapping[Child, str]) -> None:
    """Until a process has printed something, as long as none of them ends.

    Raises:
        RunFailed: One has ended: the others would wait for it.
    """
    while child.line is None:
        silent = {one.process.stdout: one for one in named if one.line is None}
        ready, _, _ = select.select(list(silent), [], [])
        for stream in ready:
            one = silent[stream]
            if not one.take_line():
                raise RunFailed(f'{named[one]} has ended: {one.last_error()}')


def _environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """What a launcher that holds the port tells a rank."""
    return dict(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(ranks),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
        TORCHELASTIC_USE_AGENT_STORE='True',
        TORCHELASTIC_RESTART_COUNT='0',
    )


# Output


def summarise(found: dict[str, Any]) -> dict[str, Any]:
    """The figures.

    Args:
        found (dict): As :func:`measure` gives it.

    Returns:
        dict: ``<case>_s``, the median over rounds of the mean over processes of a step;
        ``cost_ratio``, the median of together / apart, round by round; ``scaling_ratio``, that of
        alone / together, the images a second of a rank over those of a process alone;
        ``exceeded``, whether the cost is more than it may be; and what it ran on.
    """
    means = {case: [statistics.fmean(turn) for turn in found[case]] for case in CASES}
    cost = _median_quotient(means['together'], means['apart'])
    return dict(
        {f'{case}_s': statistics.median(rows) for case, rows in means.items()},
        cost_ratio=cost,
        scaling_ratio=_median_quotient(means['alone'], means['together']),
        ranks=len(found['together'][0]),
        rounds=len(found['together']),
        exceeded=cost > MOST,
        **found['described'],
    )


def _median_quotient(over: Sequence[float], under: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def print_table(result: dict[str, Any]) -> None:
    """The same for people."""
    ranks, threads = result['ranks'], plural(result['threads'], 'thread')
    print(
        f'{result["cpu"]}, torch {result["torch"]}; a process has {threads}; '
        f'{plural(result["rounds"], "round")} of {plural(result["steps"], "step")}\n'
    )
    titles = dict(
        alone='one process',
        apart=f'{ranks} processes that do not speak',
        together=f'{ranks} ranks',
    )
    print(f'{"case":<40}{"s a step":>10}{"images/s":>10}')
    for case, title in titles.items():
        processes = 1 if case == 'alone' else ranks
        images = 2 * processes * result['batch_size'] / result[f'{case}_s']
        print(f'{title:<40}{result[f"{case}_s"]:>10.4f}{images:>10.1f}')
    mark = '  too much' if result['exceeded'] else ''
    print(
        f'\nranks / processes that do not speak: {result["cost_ratio"]:.3f}, at most {MOST}{mark}'
    )
    print(f'images/s of {ranks} ranks / {ranks} times one process: {result["scaling_ratio"]:.3f}')
