"""A search step beside others: alone, beside a second search, beside a busy program, under a quota.

Each case runs in fresh processes, which start to count together; the cases take turns, and figures
are medians. Beside them stand the ratios that follow, with the most that each may be. A quota needs
a control group that may be written (root, cgroup version 1 or 2). Always on the CPU; it means
something on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import sys

import arguments

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = arguments.make_parser(__doc__, steps=5, warmup=2)
    parser.add_argument(
        '--seconds', type=float, default=10.0, help='to measure a case in a round (default: 10)'
    )
    parser.add_argument('--rounds', type=int, default=3, help='of all cases (default: 3)')
    parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
    parser.set_defaults(executions=['fused'])
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)

from rdarts.measure.neighbours import Neighbours, measure, print_table, summarise, take_steps
from rdarts.measure.settings import StepSettings


def main() -> int:
    args = vars(parse_args())
    as_json, child = args.pop('json'), args.pop('child')
    seconds, rounds = args.pop('seconds'), args.pop('rounds')
    settings = StepSettings(**args)
    if child:
        print(json.dumps(take_steps(settings)))
        return 0
    plan = Neighbours(settings, [sys.executable, __file__, '--child'], seconds, rounds)
    # of the whole: the processes that took the steps know nothing of rounds
    result = dict(summarise(measure(plan)), seconds=seconds, rounds=rounds)
    if as_json:
        print(json.dumps(result, allow_nan=False))
    else:
        print_table(result)
    return 1 if result['exceeded'] else 0


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
