"""Where the time of a search goes: data, computing, hooks and logging, the rest.

Runs some iterations of a config, its checkpoint at the end of the epoch and some batches of its
validation, and adds them up to an epoch. Nothing is written into the run's own work directory.
"""

from __future__ import annotations

import argparse
import json
import sys

from rdarts import cli
from rdarts.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument('config', help='a Python config: configs/search/*.py')
    parser.add_argument('--iterations', type=int, default=20, help='default: %(default)s')
    parser.add_argument('--warmup', type=int, default=3, help='before them (default: %(default)s)')
    cli.add_cfg_options(parser, 'set keys of the config, e.g. model.backbone.cells_per_stage=1')
    parser.add_argument('--json', action='store_true', help='print one JSON object instead')
    args = parser.parse_args()
    if args.iterations < 1 or args.warmup < 1:
        raise UserError('--iterations and --warmup must be 1 or more')
    return args


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.configuration.load import load_config
from rdarts.configuration.options import parse_options
from rdarts.measure.overhead import as_data, measure, print_table


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, parse_options(args.cfg_options))
    result = measure(cfg, args.iterations, args.warmup)
    if args.json:
        values = as_data(result, config=args.config, iterations=args.iterations)
        print(json.dumps(values, allow_nan=False))
    else:
        print_table(result)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
