"""Draw a genotype as SVG, PNG or PDF, or the epochs of a search as an animated SVG."""

from __future__ import annotations

import argparse
import sys

from rdarts import cli
from rdarts.console import completers


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument(
        'genotype',
        metavar='WORK_DIR|FILE|STRING',
        help='work directory of a search, a genotype file, or an official string',
        completer=completers.genotypes,
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='picture to write: .svg, .png or .pdf (default: genotype.svg and genotype.png in '
        'WORK_DIR, beside FILE under its name, or in the current folder)',
    )
    parser.add_argument(
        '--epochs',
        action='store_true',
        help='draw the genotype of every epoch of the search in WORK_DIR, one after the other, as '
        'one SVG (default of --out: epochs.svg in WORK_DIR)',
    )
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.visualization.drawing.matplotlib import draw_files
from rdarts.visualization.search_animation import draw_epochs


def main() -> None:
    args = parse_args()
    if args.epochs:
        print(draw_epochs(args.genotype, args.out))
        return
    for path in draw_files(args.genotype, args.out):
        print(path)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
