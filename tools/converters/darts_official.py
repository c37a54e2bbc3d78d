"""Convert a checkpoint of the official DARTS code (quark0/darts, and its forks) to our names.

Its derived networks have the tensors of DARTSNet under other names. The file is read as data:
nothing in it runs.
"""

from __future__ import annotations

import argparse
import sys

from rdarts import cli
from rdarts.console import completers


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument('checkpoint', help='a state dict, or a checkpoint that holds one')
    parser.add_argument('out', help='where to write ours')
    parser.add_argument(
        '--genotype', required=True, help='see tools/train.py', completer=completers.genotypes
    )
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.apis.darts_official import convert_checkpoint


def main() -> None:
    args = parse_args()
    sizes = convert_checkpoint(args.checkpoint, args.out, args.genotype)
    print(
        f'{args.out}: {sizes["channels"]} channels, {sizes["num_cells"]} cells, {sizes["stem"]} '
        f'stem, {sizes["num_classes"]} classes'
    )


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
