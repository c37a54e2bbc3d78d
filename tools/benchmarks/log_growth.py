"""What a search's log costs as it grows: the start of a resume, the report, the pictures.

The log is written here as a search of so many epochs does, with an alpha that drifts at random.
Each length has a process of its own; seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rdarts import cli
from rdarts.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument('config', help='of a search with alpha: configs/search/*.py')
    parser.add_argument(
        '--epochs', type=int, nargs='+', default=[1000, 3000, 10000], help='default: %(default)s'
    )
    parser.add_argument(
        '--rows', type=int, default=40, help='of iterations an epoch (default: %(default)s)'
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object a length')
    parser.add_argument('--markdown', action='store_true', help='print a table of Markdown')
    parser.add_argument('--child', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if min(args.epochs) < 1 or args.rows < 1:
        raise UserError('--epochs and --rows must be 1 or more')
    return args


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.measure.log_growth import as_table, measure, measure_all


def main() -> None:
    args = parse_args()
    if args.child:
        print(json.dumps(measure(args.config, *args.epochs, args.rows, args.child)))
        return
    found = measure_all(args.config, args.epochs, args.rows, [sys.executable, __file__])
    if args.json:
        print('\n'.join(map(json.dumps, found)))
        return
    table = as_table(found, args.config, args.rows)
    print(table.as_markdown() if args.markdown else table.as_text(), end='')


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
