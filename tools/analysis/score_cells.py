"""Training-free scores of cells as a table and CSV, beside the accuracies of the space's table."""

from __future__ import annotations

import argparse
import sys

from rdarts import cli
from rdarts.console import completers

SCORES = (
    *('naswot', 'swap', 'zico', 'az_nas', 'synflow', 'jacob_cov', 'snip', 'grad_norm'),
    *('grasp', 'fisher', 'plain', 'params', 'macs'),
)


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument(
        'cells',
        nargs='*',
        metavar='CELL',
        help="a JSON file, a search's work directory, a published name, a string, or a number in "
        "the space's table",
        completer=completers.genotypes,
    )
    parser.add_argument('--random', type=int, metavar='K', help='or K different random cells')
    parser.add_argument('--seed', type=int, default=0, help='of that draw (default: 0)')
    parser.add_argument(
        '--draws', type=int, default=1, help='so many draws, of seeds from --seed on (default: 1)'
    )
    parser.add_argument('--space', default='nas_bench_201', help='(default: %(default)s)')
    parser.add_argument(
        '--scores', nargs='+', default=SCORES, help=f'(default: {" ".join(SCORES)})'
    )
    parser.add_argument('--channels', type=int, help='of the networks (default: 16)')
    parser.add_argument(
        '--cells-per-stage',
        '--depth',
        dest='depth',
        type=int,
        help="or, where a space has no stages of cells, their number (default: 1, or the search's)",
    )
    parser.add_argument('--data', default='c10', help='images and classes (default: c10)')
    parser.add_argument(
        '--noise', action='store_true', help="images of N(0, 1) in the place of the data's"
    )
    parser.add_argument(
        '--images',
        dest='batch_size',
        type=int,
        default=16,
        help='of a batch; ZiCo takes two (default: 16)',
    )
    parser.add_argument('--weights-seed', type=int, default=0, help='of initial weights')
    parser.add_argument(
        '--out', metavar='FILE.csv', help='written as it goes; a run goes on with what it has'
    )
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.study.scored_cells import score_cells


def main() -> None:
    args = vars(parse_args())
    cli.outlive_output()
    for table in score_cells(sources=args.pop('cells'), **args):
        print(f'\n{table.as_text()}', end='')


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
