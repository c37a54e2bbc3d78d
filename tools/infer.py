"""Classify images by an exported network, or by a retrained one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rdarts import cli
from rdarts.console import completers


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(
        description=__doc__,
        epilog='Exit code: 0, or 1 where an image was not classified, or 2 for another mistake.',
    )
    parser.add_argument(
        'net',
        help='a file of tools/export.py, the work directory of a retraining, or a Python config',
    )
    parser.add_argument('images', nargs='+', help='image files, and folders of them')
    parser.add_argument('--top', type=int, default=5, help='classes of an image (default: 5)')
    parser.add_argument('--batch-size', type=int, default=32, help='images at once (default: 32)')
    parser.add_argument('--out', metavar='FILE.csv', help='write the table as CSV')
    parser.add_argument(
        '--trust', action='store_true', help='read a .pt2 file, which could run code'
    )
    parser.add_argument('--checkpoint', help='of a config or work directory (default: the newest)')
    parser.add_argument(
        '--genotype',
        metavar='GENOTYPE',
        help='of a config: see tools/train.py',
        completer=completers.genotypes,
    )
    cli.add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from functools import partial

from rdarts.configuration.options import parse_options
from rdarts.deploy.classification import load_predictor, print_classes
from rdarts.errors import UserError


def main() -> int:
    args = parse_args()
    for name in ('top', 'batch_size'):
        if getattr(args, name) < 1:
            option = f'--{name.replace("_", "-")}'
            raise UserError(f'{option} must be 1 or more, but is {getattr(args, name)}')
    if args.out and Path(args.out).suffix.lower() != '.csv':
        raise UserError(f'--out {args.out}: the table is written as CSV: give a name in .csv')
    options = parse_options(args.cfg_options)
    load = partial(load_predictor, args.net, args.trust, args.checkpoint, args.genotype, options)
    failed = print_classes(args.images, load, args.top, args.batch_size, args.out)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
