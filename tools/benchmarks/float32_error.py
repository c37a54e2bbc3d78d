"""Error of a step's gradients in float32, in every execution: its distance to plain in float64.

A distance is relative L2, over all weight gradients together and over alpha's. Each seed draws
weights, alpha and images; the figures are means over the seeds, none left out.
"""

from __future__ import annotations

import argparse
import sys

import arguments

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = arguments.make_parser(__doc__, steps=1, warmup=0)
    parser.add_argument('--seeds', type=int, default=5, help='number of seeds (default: 5)')
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.measure.describe import print_json
from rdarts.measure.float32_error import float32_error, print_table
from rdarts.measure.settings import StepSettings


def main() -> None:
    args = vars(parse_args())
    as_json, seeds = args.pop('json'), args.pop('seeds')
    settings = StepSettings(**args).prepare()
    result = float32_error(settings, seeds)
    if as_json:
        print_json(result)
    else:
        print_table(settings, result)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
