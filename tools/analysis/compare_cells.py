"""Train the cell that a search found beside the all-skip and the all-3x3 cell, all alike."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rdarts import cli
from rdarts.configuration.folder import configs_folder
from rdarts.console import completers


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    config = configs_folder().resolve() / 'retrain' / 'nb201_digits.py'
    parser.add_argument('search_dir', metavar='WORK_DIR', help='work directory of a search')
    parser.add_argument(
        '--config',
        default=str(config),
        help='how to train (default: %(default)s)',
        completer=completers.configs('retrain'),
    )
    parser.add_argument('--seed', type=int, default=0, help='of every training (default: 0)')
    parser.add_argument('--work-dir', help='where to write (default: WORK_DIR/compare)')
    cli.add_cfg_options(parser, 'set keys of the config, e.g. train_cfg.max_epochs=2')
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.study.cells import compare_cells


def main() -> None:
    args = vars(parse_args())
    cli.outlive_output()
    compare_cells(Path(args.pop('search_dir')), **args)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
