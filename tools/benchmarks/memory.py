"""Peak memory of a search step in every execution, each in a process of its own.

What counts is resident memory above the idle process: model, optimizers and both batches are
built, no step was taken. Always on the CPU.
"""

from __future__ import annotations

import argparse
import sys

import arguments

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = arguments.make_parser(__doc__, steps=3, warmup=0)
    parser.add_argument('--child', help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.measure import memory
from rdarts.measure.describe import print_json
from rdarts.measure.settings import StepSettings


def main() -> None:
    args = vars(parse_args())
    as_json, execution = args.pop('json'), args.pop('child')
    settings = StepSettings(**args, device='cpu').prepare()
    if execution:
        print_json(memory.measure(settings, execution))
        return
    result = memory.step_memory(settings, [sys.executable, __file__])
    if as_json:
        print_json(result)
    else:
        memory.print_table(settings, result)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
