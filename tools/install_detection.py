"""Install what detection needs: mmdetection, and mmcv with its compiled operators.

PyPI's onedl-mmcv has no compiled operators. They are built once, against the PyTorch of this
environment, and the wheel is kept for the next environment (RDARTS_CACHE, else ~/.cache/rdarts).
mmdetection moves numpy and OpenCV of this environment back: --dry-run says what it would do.
"""

from __future__ import annotations

import argparse
import sys

from rdarts import cli
from rdarts.utils.install_detection import install_detection, stop_on_signals


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='say what it would install, move back and build, and do none of it',
    )
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)


def main() -> None:
    args = parse_args()
    stop_on_signals()
    install_detection(args.dry_run)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
