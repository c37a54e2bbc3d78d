"""Write the report of searches: one HTML file with every epoch, that needs no network.

A search writes report.html into its work directory itself. This makes it for older runs, and
sets several side by side.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'work_dirs',
        nargs='+',
        metavar='WORK_DIR',
        help='work directory of a search, or a folder of such',
    )
    parser.add_argument('--out', help='file to write (default: report.html in the first WORK_DIR)')
    parser.add_argument('--table', help='the NAS-Bench-201 table (default: where data are)')
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.benchmarks import open_table
from rdarts.results.search_run import begun_runs, find_runs
from rdarts.visualization.report import write_report


def main() -> None:
    args = parse_args()
    runs = begun_runs(find_runs(args.work_dirs))
    table = open_table(args.table)
    out = Path(args.out) if args.out else Path(args.work_dirs[0]) / 'report.html'
    write_report(runs, out, table)
    print(out)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
