"""Time of each training-free score, over that of the forward and backward passes it is made of.

They take turns on the same random networks, within one process. Where a ratio is above 1.5, the
exit code is 1.
"""

from __future__ import annotations

import argparse
import sys

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument('--scores', nargs='+', metavar='NAME', help='default: all of them')
    parser.add_argument('--space', default='nas_bench_201', help='default: %(default)s')
    for name, default, text in (
        ('channels', 16, 'of the first cells'),
        ('depth', 1, 'cells a stage in NAS-Bench-201, else cells'),
        ('batch-size', 16, 'images'),
        ('image-size', 32, 'pixels a side'),
        ('networks', 5, 'random ones'),
        ('turns', 5, 'of each network that count'),
        ('threads', 1, 'of PyTorch'),
        ('seed', 0, 'of networks, weights and images'),
    ):
        parser.add_argument(
            f'--{name}', type=int, default=default, help=f'{text} (default: %(default)s)'
        )
    parser.add_argument(
        '--processor-time', action='store_true', help='seconds of processors, not of the clock'
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object instead')
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.measure.describe import print_json
from rdarts.measure.score_time import CASES, ScoreSettings, case_of, measure, print_table


def main() -> int:
    args = vars(parse_args())
    as_json, names = args.pop('json'), args.pop('scores')
    cases = {name: case_of(name) for name in names or CASES}
    result = measure(ScoreSettings(**args), cases)
    if as_json:
        print_json(result)
    else:
        print_table(result)
    return 1 if result['exceeded'] else 0


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
