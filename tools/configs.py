"""List the configs that there are, and what the names of searches are made of, a line each."""

from __future__ import annotations

import argparse
import sys

from rdarts import cli
from rdarts.console import completers, config_list


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument(
        'words',
        nargs='*',
        metavar='WORD',
        help='list the configs that have all of them in their names, such as nb201 c10 (default: '
        'methods, spaces, data and variants, of which searches are composed, and the other '
        'configs)',
        completer=completers.parts_of_names,
    )
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)


def main() -> None:
    words = parse_args().words
    lines = config_list.with_words(words) if words else config_list.overview()
    print('\n'.join(lines[:-1]))


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
