"""Plot searches over their epochs or queries, each picture with its numbers as CSV.

accuracy      test accuracy of the current cell in the table, against the optimum
supernet      accuracy of the supernet on alpha's half of the training images
losses        L_train and L_val
cosine        cosine of grad L_val with grad (L_val + lambda r), by cell type
numbers       what the method changes over the epochs (temperatures, factors of regularisers),
              and what its architect says of its steps
weights       mean weight of parameter-free and of parameterised operations
entropy       mean entropy of an edge, and its parts by these two kinds
edges         weights of the candidates of every edge (a picture for each search)
edge_weights  weights of the edges into every node (a picture for each search)
leaders       share of the edges still led by the operation that led after the first epoch
skips         skip connections, by cell type
lambda        accuracy, skip connections and entropy at the end against lambda
distribution  all cells of NAS-Bench-201 with the found ones marked
best          of searches that ask: test accuracy of the best cell so far, against the optimum
queries       the value of each query, and the best so far
values        how often values were seen
"""

from __future__ import annotations

import argparse
import sys

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'work_dirs',
        nargs='+',
        metavar='WORK_DIR',
        help='work directory of a search, or a folder of such; folders seed_N of one folder are '
        'one method, shown as mean and range',
    )
    parser.add_argument('--plots', nargs='+', metavar='NAME', help='which (default: all)')
    parser.add_argument(
        '--out',
        help='folder to write to, or with one plot the picture itself (default: plots/ in the '
        'first WORK_DIR)',
    )
    parser.add_argument('--format', default='png', help='png, svg or pdf (default: png)')
    parser.add_argument('--table', help='the NAS-Bench-201 table (default: where data are)')
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from pathlib import Path

from rdarts.benchmarks import open_table
from rdarts.results.search_run import begun_runs, find_runs
from rdarts.visualization.plot_files import plot_all


def main() -> None:
    args = parse_args()
    runs = begun_runs(find_runs(args.work_dirs))
    out = Path(args.out) if args.out else Path(args.work_dirs[0]) / 'plots'
    for line in plot_all(runs, out, args.plots, args.format, open_table(args.table)):
        print(line)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
