"""Draw a genotype as SVG, PNG or PDF."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'genotype',
        metavar='WORK_DIR|FILE|STRING',
        help='work directory of a search, a genotype file, or an official string',
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='picture to write: .svg, .png or .pdf (default: genotype.svg and genotype.png in '
        'WORK_DIR, beside FILE under its name, or in the current folder)',
    )
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.genotypes import is_text
from rdarts.visualization.drawing.layout import load_drawable
from rdarts.visualization.drawing.matplotlib import draw_genotype


def main() -> None:
    args = parse_args()
    genotype = load_drawable(args.genotype)
    if args.out:
        paths = [Path(args.out)]
    else:
        source = Path('genotype')
        if not is_text(args.genotype):
            source = Path(args.genotype)
            source = source / 'genotype' if source.is_dir() else source
        paths = [source.with_suffix(suffix) for suffix in ('.svg', '.png')]
    for path in paths:
        draw_genotype(genotype, path)
        print(path)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
