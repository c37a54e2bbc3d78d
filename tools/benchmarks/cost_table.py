"""Measure what every candidate of every edge costs, for ExpectedCost.

Each candidate runs alone, at the shape that its edge sees, in evaluation mode and in the memory
format of a derived network; the cells of a type are added up. How a search takes the table:
docs/en/configs.md.
"""

from __future__ import annotations

import argparse
import sys

from rdarts import cli
from rdarts.console import completers


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a search', completer=completers.configs('search'))
    parser.add_argument('--out', default='costs.json', help='(default: %(default)s)')
    parser.add_argument(
        '--what',
        choices=('latency', 'macs'),
        default='latency',
        help='ms on this machine, or millions of multiply-adds (default: latency)',
    )
    parser.add_argument(
        '--shape',
        nargs=3,
        type=int,
        metavar=('C', 'H', 'W'),
        help="of one image (default: what the config's train pipeline gives)",
    )
    parser.add_argument('--batch-size', type=int, default=1, help='of the latency (default: 1)')
    parser.add_argument('--repeats', type=int, default=20, help='of the latency (default: 20)')
    cli.add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.configuration.load import load_config
from rdarts.configuration.options import parse_options
from rdarts.measure.cost_table import CostSettings, cost_table
from rdarts.utils.files import check_output


def main() -> None:
    args = parse_args()
    settings = CostSettings(args.what, args.shape, args.batch_size, args.repeats)
    out = check_output(args.out)
    table = cost_table(
        load_config(args.config, parse_options(args.cfg_options)), args.config, settings
    )
    table.write(out)
    table.print()
    print(f'{out}: {table.data["unit"]}')


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
