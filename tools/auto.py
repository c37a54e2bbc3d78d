"""From a folder of images to a network that was searched, trained, evaluated and exported."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rdarts import cli
from rdarts.auto.configs import BASELINES
from rdarts.auto.sizes import SPACES
from rdarts.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(
        description=__doc__,
        epilog='Stopped at any moment, the same command goes on. See docs/en/auto.md.',
    )
    parser.add_argument(
        'images',
        type=Path,
        help='a folder with one folder of images a class, or with train/ and val/ of such',
    )
    parser.add_argument(
        '--time', default='1h', help='for everything: 2h, 90m, 45s or 1h30m (default: 1h)'
    )
    parser.add_argument('--max-macs', metavar='N', help='multiply-adds of one image, such as 50M')
    parser.add_argument('--max-params', metavar='N', help='parameters, such as 300k')
    parser.add_argument(
        '--max-latency',
        metavar='MS',
        help="ms of one image in the network's cells, by a table that is measured on this machine",
    )
    parser.add_argument('--out', type=Path, help='where all goes (default: work_dirs/auto_FOLDER)')
    parser.add_argument(
        '--space', choices=list(SPACES), help='what is searched (default: by the time)'
    )
    parser.add_argument(
        '--image-size', type=int, metavar='PIXELS', help='a side (default: by images and time)'
    )
    parser.add_argument(
        '--search-share',
        type=float,
        default=1 / 3,
        metavar='SHARE',
        help='of the time of the network found, what its search has (default: a third)',
    )
    parser.add_argument(
        '--cost-weight',
        type=float,
        default=0.01,
        metavar='NATS',
        help="of costs in alpha's loss where they are limited, for one as large again as that of "
        'equal weights (default: .01)',
    )
    parser.add_argument(
        '--held-out',
        type=float,
        default=0.2,
        metavar='SHARE',
        help='of each class, where there is no folder of held-out images (default: .2)',
    )
    parser.add_argument(
        '--baselines',
        nargs='*',
        choices=list(BASELINES),
        default=list(BASELINES),
        help='networks of torchvision that have the same time (default: both; none by the bare '
        'option)',
    )
    parser.add_argument(
        '--flip',
        action=argparse.BooleanOptionalAction,
        default=None,
        help='mirror images (default: unless all are grey)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of everything random (default: 0)')
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.auto.amounts import parse_count, parse_time
from rdarts.auto.run import Settings, run_auto


def settings_of(args: argparse.Namespace) -> Settings:
    """What the options say.

    Raises:
        UserError: One is out of its range.
    """
    given = dict(macs=args.max_macs, params=args.max_params, latency=args.max_latency)
    limits = {
        name: parse_count(text, f'--max-{name}') for name, text in given.items() if text is not None
    }
    for option, value in (('--search-share', args.search_share), ('--held-out', args.held_out)):
        if not 0 < value < 1:
            raise UserError(f'{option} {value}: a share lies between 0 and 1')
    if not 0 <= args.cost_weight < float('inf'):
        raise UserError(f'--cost-weight {args.cost_weight}: a number from 0 on')
    if args.image_size is not None and not 8 <= args.image_size <= 1024:
        raise UserError(f'--image-size {args.image_size}: from 8 to 1024 pixels')
    return Settings(
        images=args.images,
        out=args.out or Path('work_dirs', f'auto_{args.images.resolve().name}'),
        seconds=parse_time(args.time),
        limits=limits,
        space=args.space,
        image_size=args.image_size,
        search_share=args.search_share,
        cost_weight=args.cost_weight,
        held_out=args.held_out,
        baselines=tuple(dict.fromkeys(args.baselines)),
        flip=args.flip,
        seed=args.seed,
    )


def main() -> None:
    args = parse_args()
    cli.outlive_output()
    run_auto(settings_of(args))


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
