"""What strategies reach on the table of NAS-Bench-201 within so many queries, over seeds.

Each seed is a search of its own, without a work directory. With --csv, searches that the file has
are not run again, so that what was stopped goes on; one program at a time may write a file.
"""

from __future__ import annotations

import argparse
import sys

from rdarts import cli
from rdarts.errors import UserError

STRATEGIES = ['RandomSearch', 'RegularizedEvolution', 'LocalSearch', 'Reinforce']


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument(
        '--strategies',
        nargs='+',
        default=STRATEGIES,
        metavar='NAME',
        help="with arguments in brackets, as in 'RegularizedEvolution(population=10, sample=3)' "
        f'(default: {", ".join(STRATEGIES)})',
    )
    parser.add_argument(
        '--dataset', default='cifar10', help='whose validation accuracy decides (default: cifar10)'
    )
    parser.add_argument(
        '--epochs', type=int, default=200, help='after which: 12 or 200 (default: 200)'
    )
    parser.add_argument(
        '--queries', type=int, nargs='+', default=[100, 300, 500], help='default: 100 300 500'
    )
    parser.add_argument('--seeds', type=int, default=10, help='0 .. n - 1 (default: 10)')
    parser.add_argument('--csv', help='a file that keeps every search')
    parser.add_argument('--markdown', action='store_true', help='print a table of Markdown')
    args = parser.parse_args()
    if min(args.queries) < 1 or args.seeds < 1:
        raise UserError('--queries and --seeds must be 1 or more')
    return args


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from pathlib import Path

from rdarts.benchmarks import NASBench201
from rdarts.measure.query_statistics import Criterion, measure, summarise


def main() -> None:
    args = parse_args()
    runs = measure(
        args.strategies,
        Criterion(args.dataset, args.epochs),
        range(args.seeds),
        max(args.queries),
        None if args.csv is None else Path(args.csv),
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    table = summarise(NASBench201.find(), runs, args.queries)
    print(table.as_markdown() if args.markdown else table.as_text(), end='')


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
