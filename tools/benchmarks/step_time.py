"""Time of a search step (one of alpha with BER, one of the weights) in every execution.

The executions start from the same weights and take turns within one process; figures are
medians. The limit is the floating-point work that a step cannot do without, at the rate of this
machine's float32 matrix products.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import arguments

from rdarts import cli
from rdarts.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = arguments.make_parser(__doc__, steps=20, warmup=3)
    parser.add_argument(
        '--profile',
        action='store_true',
        help="instead: where the time of the last execution's step goes, by operator",
    )
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

import common
import torch


def measure(args: argparse.Namespace) -> tuple[dict[str, list[tuple[float, float]]], float]:
    """Run the steps, and matrix products between them: other load on the machine hits both.

    Returns:
        tuple[dict, float]: Execution, with ``_amp`` after it in bfloat16 -> of each step the
        seconds, and those of BER; and the best rate of the products, FLOP a second.
    """
    rate = common.matrix_rate()
    first = common.Search(args, 'plain')
    state = {key: value.clone() for key, value in first.model.state_dict().items()}
    del first
    searches = {}
    for amp in (False, True) if args.amp else (False,):
        for execution in args.executions:
            name = f'{execution}_amp' if amp else execution
            searches[name] = common.Search(args, execution, amp, state)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in searches}
    for step in range(args.warmup + args.steps):
        for name, search in searches.items():
            seconds = search.step()
            if step >= args.warmup:
                times[name].append(seconds)
        rate = max(rate, common.matrix_rate(repeats=1))
    return times, rate


def summarise(
    args: argparse.Namespace,
    times: dict[str, list[tuple[float, float]]],
    work: int,
    rate: float,
) -> dict[str, Any]:
    """The figures.

    Args:
        args (Namespace): The arguments.
        times (dict): Seconds, as :func:`measure` gives them.
        work (int): FLOP of a step.
        rate (float): FLOP a second of matrix products.

    Returns:
        dict: See the page on performance; ``None`` for what was not measured.
    """
    seconds = {name: statistics.median(step for step, _ in rows) for name, rows in times.items()}
    plain, fused = seconds.get('plain'), seconds.get('fused')
    ber = [
        (step, part) for name, rows in times.items() if '_amp' not in name for step, part in rows
    ]
    part = statistics.median(part for _, part in ber)
    # BER costs the same in every execution, so it weighs most in the fastest
    fastest = min(value for name, value in seconds.items() if '_amp' not in name)
    result = {f'{name}_s': seconds.get(name) for name in common.EXECUTIONS}
    if args.amp:
        result.update({f'{name}_amp_s': seconds.get(f'{name}_amp') for name in common.EXECUTIONS})
        result['amp_ratio'] = common.divide(fused, seconds.get('fused_amp'))
        result['plain_amp_ratio'] = common.divide(plain, seconds.get('plain_amp'))
    limit = work / rate
    return dict(
        result,
        ratio=common.divide(plain, fused),
        limit_ratio=common.divide(limit, fused),
        plain_limit_ratio=common.divide(limit, plain),
        images_per_s=common.divide(2 * args.batch_size, fused),
        plain_images_per_s=common.divide(2 * args.batch_size, plain),
        ber_share=part / (fastest - part),
        work_gflop=work / 1e9,
        matrix_rate_gflops=rate / 1e9,
        **common.describe(args),
    )


def print_table(args: argparse.Namespace, result: dict[str, Any]) -> None:
    """The same for people."""
    print(common.heading(args))
    print(
        f'work {result["work_gflop"]:.2f} GFLOP a step; matrix products '
        f'{result["matrix_rate_gflops"]:.1f} GFLOP/s; {result["cpu"]}, torch {result["torch"]}\n'
    )
    print(f'{"execution":<24}{"s a step":>10}{"images/s":>10}{"x plain":>9}{"limit":>8}')
    names = [f'{name}{end}' for end in ('', '_amp') for name in common.EXECUTIONS]
    plain = result['plain_s']
    for name in names:
        seconds = result.get(f'{name}_s')
        if seconds is None:
            continue
        ratio = f'{plain / seconds:.2f}' if plain else '-'
        share = result['work_gflop'] / result['matrix_rate_gflops'] / seconds
        images = 2 * args.batch_size / seconds
        print(f'{name:<24}{seconds:>10.4f}{images:>10.1f}{ratio:>9}{share:>8.3f}')
    print(
        f'\nimages/s: of L_train and of L_val together; limit: the work at the rate of matrix '
        f'products, over the time\nBER adds {result["ber_share"]:.2%} to a step of the fastest'
    )
    if args.amp and not result['bf16_instructions']:
        print('This CPU has no bfloat16 instructions: PyTorch emulates them')


def profile(args: argparse.Namespace, top: int = 15) -> None:
    """Print where the time of a step of the last execution goes, by PyTorch's profiler."""
    execution = args.executions[-1]
    search = common.Search(args, execution)
    for _ in range(args.warmup):
        search.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        for _ in range(args.steps):
            search.step()
    rows = sorted(found.key_averages(), key=lambda row: row.self_cpu_time_total, reverse=True)
    total = sum(row.self_cpu_time_total for row in rows)
    print(common.heading(args))
    print(f'\n{execution}, by the profiler, which itself lengthens what is in Python\n')
    print(f'{"operator":<48}{"ms a step":>10}{"share":>8}{"calls":>8}')
    for row in rows[:top]:
        seconds = row.self_cpu_time_total
        print(
            f'{row.key[:47]:<48}{seconds / 1e3 / args.steps:>10.1f}{seconds / total:>8.1%}'
            f'{row.count / args.steps:>8.0f}'
        )


def main() -> None:
    args = parse_args()
    common.check_args(args)
    if args.profile:
        if args.json:
            raise UserError('--profile prints a table: leave out --json')
        return profile(args)
    work = common.count_work(args)
    times, rate = measure(args)
    result = summarise(args, times, work, rate)
    common.print_result(args, result, print_table)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
