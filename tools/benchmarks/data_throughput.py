"""Images a second that the two pipelines of small images give, as the float tensor a model gets.

Crop, flip, cutout and normalisation of 50,000 images of noise of 3 x 32 x 32, a whole epoch with
its sampler and collate function, in one process. Figures are medians over epochs; those by CPU
time leave out what other processes took.
"""

from __future__ import annotations

import argparse
import json
import sys

from rdarts import cli
from rdarts.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batch-size', type=int, default=64, help='default: %(default)s')
    parser.add_argument('--images', type=int, default=50000, help='default: %(default)s')
    parser.add_argument(
        '--epochs', type=int, default=3, help='measured ones (default: %(default)s)'
    )
    parser.add_argument('--threads', type=int, default=1, help='of PyTorch (default: %(default)s)')
    parser.add_argument('--json', action='store_true', help='print one JSON object instead')
    args = parser.parse_args()
    for name in ('batch_size', 'images', 'epochs', 'threads'):
        if getattr(args, name) < 1:
            raise UserError(f'--{name.replace("_", "-")} must be 1 or more')
    return args


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.measure.data_throughput import as_data, measure_all, print_table


def main() -> None:
    args = vars(parse_args())
    as_json = args.pop('json')
    rates = measure_all(**args)
    if as_json:
        print(json.dumps(as_data(rates, args)))
    else:
        print_table(rates, args)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
