"""Time that the processors take for a number of S4's noise, beside PyTorch's own normal numbers.

Those of C++ and those of NumPy, which draws where there is no compiler, are the same.
"""

from __future__ import annotations

import argparse
import sys

from rdarts import cli
from rdarts.errors import UserError

MOST = 1 << 28  # numbers: 3 GB in both types


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    for name, default, text in (
        ('numbers', 1 << 20, 'drawn at once'),
        ('repeats', 9, 'that count'),
        ('threads', 1, 'of PyTorch'),
    ):
        parser.add_argument(
            f'--{name}', type=int, default=default, help=f'{text} (default: %(default)s)'
        )
    parser.add_argument('--json', action='store_true', help='print one JSON object instead')
    args = parser.parse_args()
    for name in ('numbers', 'repeats', 'threads'):
        if getattr(args, name) < 1:
            raise UserError(f'--{name} must be 1 or more')
    if args.numbers > MOST:
        raise UserError(f'--numbers must be {MOST:,} at most, but is {args.numbers:,}')
    return args


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.measure.describe import print_json
from rdarts.measure.noise_time import measure, print_table


def main() -> None:
    args = vars(parse_args())
    as_json = args.pop('json')
    result = measure(**args)
    if as_json:
        print_json(result)
    else:
        print_table(result)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
