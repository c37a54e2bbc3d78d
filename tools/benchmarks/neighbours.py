"""A search step beside others: alone, beside a second search, beside a busy program, under a quota.

Each case runs in fresh processes, which start to count together; the cases take turns, and figures
are medians. Beside them stand the ratios that follow, with the most that each may be. A quota needs
a control group that may be written (root, cgroup version 1 or 2). Always on the CPU; it means
something on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import arguments

from rdarts import cli
from rdarts.errors import RunFailed, UserError
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


def parse_args() -> argparse.Namespace:
    parser = arguments.make_parser(__doc__, steps=5, warmup=2)
    parser.add_argument(
        '--seconds', type=float, default=10.0, help='to measure a case in a round (default: 10)'
    )
    parser.add_argument('--rounds', type=int, default=3, help='of all cases (default: 3)')
    parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
    parser.set_defaults(executions=['fused'])
    args = parser.parse_args()
    if not args.seconds > 0 or args.rounds < 1:
        raise UserError('--seconds must be positive, and --rounds 1 or more')
    if len(args.executions) != 1 or args.amp:
        raise UserError('one of --executions at a time, in float32')
    return args


if __name__ == '__main__':
    cli.start(parse_args)


# A process that takes steps


def take_steps(args: argparse.Namespace) -> dict[str, Any]:
    """Warm up, wait for a line, take steps until the next one; gives the seconds of each."""
    import common  # slow to load, and of no use to who only starts others

    common.check_args(args)
    search = common.Search(args, args.executions[0])
    for _ in range(args.warmup):
        search.step()
    print('ready', flush=True)
    sys.stdin.readline()
    seconds: list[float] = []
    while len(seconds) < args.steps or not select.select([sys.stdin], [], [], 0)[0]:
        seconds.append(search.step()[0])
    return dict(step_seconds=seconds, **common.describe(args))


class Child:
    """A process that takes steps when it is told to.

    Args:
        args (Namespace): The arguments.
        env (dict[str, str]): What its environment has of threads; nothing else of this one's.
        group (Path, optional): A control group for it. Defaults to this process's.
    """

    def __init__(
        self, args: argparse.Namespace, env: dict[str, str], group: Path | None = None
    ) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), '--child']
        names = ('space', 'batch_size', 'width', 'depth', 'image_size', 'order', 'steps', 'warmup',
                 'seed')  # fmt: skip
        for name in names:
            if getattr(args, name) is not None:
                command += [f'--{name.replace("_", "-")}', str(getattr(args, name))]
        command += ['--checkpoint'] if args.checkpoint else []
        command += ['--executions', *args.executions]
        of_threads = (*machine.WAITING, machine.THREADS, 'OMP_WAIT_POLICY', 'MKL_NUM_THREADS')
        kept = {key: value for key, value in os.environ.items() if key not in of_threads}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**kept, 'CUDA_VISIBLE_DEVICES': '', **env},
            preexec_fn=None if group is None else lambda: join(group),
        )

    def wait_until_ready(self) -> None:
        """Until it has warmed up.

        Raises:
            RunFailed: It has ended before; the line says why.
        """
        if self.process.stdout.readline() != 'ready\n':
            raise RunFailed(f'a measurement failed: {self._last_error()}')

    def tell(self) -> None:
        """To begin, or to end."""
        self.process.stdin.write('\n')
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What it has measured."""
        out, err = self.process.communicate()
        if self.process.returncode:
            raise RunFailed(f'a measurement failed: {err.strip() or self.process.returncode}')
        return json.loads(out.splitlines()[-1])

    def _last_error(self) -> str:
        _, err = self.process.communicate()
        lines = err.strip().splitlines() or [f'exit code {self.process.returncode}']
        return lines[-1].removeprefix('error: ')


def join(group: Path) -> None:
    """Move this process into a control group."""
    (group / 'cgroup.procs').write_text(str(os.getpid()))


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


def measure_case(args: argparse.Namespace, case: str, group: Path | None) -> list[dict[str, Any]]:
    """One case, once.

    Args:
        args (Namespace): The arguments.
        case (str): A key of ``TITLES``.
        group (Path, optional): The control group of the quota.

    Returns:
        list[dict]: What each of its searches has measured.
    """
    env = {machine.THREADS: str(args.threads)} if args.threads else {}
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
            children.append(Child(args, env, group if case == 'quota' else None))
        for child in children:
            child.wait_until_ready()
        if case == 'busy':
            busy = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
        for child in children:
            child.tell()
        time.sleep(args.seconds)
        for child in children:
            child.tell()
        return [child.result() for child in children]
    finally:
        for process in [child.process for child in children] + ([busy] if busy else []):
            if process.poll() is None:
                process.kill()
                process.wait()


def measure(args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """All cases, in turn, in each of the rounds.

    Returns:
        dict: Case -> what its searches have measured; without the quota where there can be none.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    with quota_group() as group:
        for _ in range(args.rounds):
            for case in TITLES:
                if case != 'quota' or group is not None:
                    found.setdefault(case, []).extend(measure_case(args, case, group))
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


def main() -> int:
    args = parse_args()
    if args.child:
        print(json.dumps(take_steps(args)))
        return 0
    # of the whole: the processes that took the steps know nothing of rounds
    result = dict(summarise(measure(args)), seconds=args.seconds, rounds=args.rounds)
    if args.json:
        print(json.dumps(result, allow_nan=False))
    else:
        print_table(result)
    return 1 if result['exceeded'] else 0


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
