"""Time of a search step of each method, over that of the softmax on the same space.

They take turns of two steps within one process, each after --warmup steps that do not count.
Figures are medians, of methods that draw candidates means over the draws. Where a ratio is more
than it may be, the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys

import arguments

from rdarts import cli

SOFTMAX = 'darts'


def parse_args() -> argparse.Namespace:
    parser = arguments.make_parser(__doc__, steps=20, warmup=1, method=SOFTMAX)
    parser.add_argument(
        '--cases',
        nargs='+',
        metavar='NAME',
        help='what to measure beside --method: cases as docs/en/performance.md names them, or '
        'methods of configs (default: all of these cases)',
    )
    parser.add_argument(
        '--draws',
        type=int,
        default=50,
        help='steps that count of what draws candidates (default: 50)',
    )
    parser.set_defaults(method=SOFTMAX, executions=['fused'])
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.measure.describe import print_json
from rdarts.measure.method_time import CASES, case_of, measure, print_table, summarise
from rdarts.measure.settings import StepSettings


def main() -> int:
    args = vars(parse_args())
    as_json, names, draws = args.pop('json'), args.pop('cases'), args.pop('draws')
    settings = StepSettings(**args)
    cases = {name: case_of(name) for name in names or CASES}
    result = summarise(settings.prepare(), cases, measure(settings, cases, draws))
    if as_json:
        print_json(result)
    else:
        print_table(settings.prepare(), result)
    return 1 if result['exceeded'] else 0


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
