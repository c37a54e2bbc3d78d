"""Peak memory of a search step in every execution, each in a process of its own.

What counts is resident memory above the idle process: model, optimizers and both batches are
built, no step was taken. Always on the CPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import arguments

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = arguments.make_parser(__doc__, steps=3, warmup=0)
    parser.add_argument('--child', help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

import common

from rdarts.errors import RunFailed
from rdarts.measure.peak_memory import Peak, read_mb


def measure(args: argparse.Namespace, execution: str) -> dict[str, Any]:
    """Take the steps in this process.

    Returns:
        dict: ``idle_mb``, ``mb`` (the peak above it) and ``method``.
    """
    amp = execution.endswith('_amp')
    search = common.Search(args, execution.removesuffix('_amp'), amp)
    gc.collect()
    idle = read_mb('VmRSS')
    with Peak() as peak:
        for _ in range(args.warmup + args.steps):
            search.step()
    return dict(idle_mb=idle, mb=peak.mb - idle, method=peak.method)


def measure_apart(args: argparse.Namespace, execution: str) -> dict[str, Any]:
    """The same in a fresh process.

    Raises:
        RunFailed: It has failed; the line says why.
    """
    command = [sys.executable, str(Path(__file__).resolve()), '--child', execution]
    command += ['--executions', execution.removesuffix('_amp')]
    for name in ('space', 'batch_size', 'width', 'depth', 'image_size', 'order', 'steps', 'warmup',
                 'threads', 'seed'):  # fmt: skip
        command += [f'--{name.replace("_", "-")}', str(getattr(args, name))]
    command += ['--checkpoint'] if args.checkpoint else []
    done = subprocess.run(
        command, capture_output=True, text=True, env=dict(os.environ, CUDA_VISIBLE_DEVICES='')
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f'exit code {done.returncode}']
        raise RunFailed(f'{execution}: {lines[-1].removeprefix("error: ")}')
    return json.loads(done.stdout.splitlines()[-1])


def summarise(args: argparse.Namespace, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures.

    Args:
        args (Namespace): The arguments.
        found (dict): Execution -> what :func:`measure` gave.

    Returns:
        dict: ``None`` for what was not measured.
    """
    ends = ('', '_amp') if args.amp else ('',)
    result: dict[str, Any] = {}
    for name in [f'{name}{end}' for end in ends for name in common.EXECUTIONS]:
        result[f'{name}_mb'] = found[name]['mb'] if name in found else None
        result[f'{name}_idle_mb'] = found[name]['idle_mb'] if name in found else None
    return dict(
        result,
        ratio=common.divide(result['fused_mb'], result['plain_mb']),
        methods=sorted({values['method'] for values in found.values()}),
        **common.describe(args),
    )


def print_table(args: argparse.Namespace, result: dict[str, Any]) -> None:
    """The same for people."""
    print(f'{common.heading(args)}\n')
    print(f'{"execution":<24}{"peak above idle, MB":>20}{"idle, MB":>10}{"x plain":>9}')
    plain = result['plain_mb']
    for key, peak in result.items():
        name = key.removesuffix('_mb')
        if f'{name}_idle_mb' not in result or peak is None:
            continue
        ratio = f'{peak / plain:.2f}' if plain else '-'
        print(f'{name:<24}{peak:>20.1f}{result[f"{name}_idle_mb"]:>10.1f}{ratio:>9}')
    print(f'\nMB of 2^20 bytes; the peak of resident memory by {" and ".join(result["methods"])}')


def main() -> None:
    args = parse_args()
    common.check_args(args)
    if args.child:
        common.print_json(measure(args, args.child))
        return
    names = [*args.executions, *(f'{name}_amp' for name in args.executions if args.amp)]
    result = summarise(args, {name: measure_apart(args, name) for name in names})
    common.print_result(args, result, print_table)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
