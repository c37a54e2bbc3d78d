"""Parameters, multiply-adds, activations, memory and latency of a network."""

from __future__ import annotations

import argparse
import json
import sys

from rdarts import cli
from rdarts.console import completers
from rdarts.measure.settings import IMAGENET_FROM


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument(
        'config',
        nargs='?',
        help='a Python config with a model; or --genotype',
        completer=completers.configs(),
    )
    parser.add_argument(
        '--genotype',
        metavar='GENOTYPE',
        help="a JSON file, a search's work directory, a published name (DARTS_V2), or a string",
        completer=completers.genotypes,
    )
    parser.add_argument(
        '--network',
        metavar='LIBRARY:NAME',
        help='a network of torchvision (torchvision:resnet50) or timm (timm:mobilenetv1_100)',
    )
    parser.add_argument(
        '--shape',
        nargs=3,
        type=int,
        default=[3, 32, 32],
        metavar=('C', 'H', 'W'),
        help=f'of one image (default: 3 32 32); from {IMAGENET_FROM} pixels on, a network of '
        '--genotype has the ImageNet stem and sizes',
    )
    parser.add_argument('--width', type=int, help='channels C (default: as published)')
    parser.add_argument('--depth', type=int, help='cells, or cells a stage (default: as published)')
    parser.add_argument('--num-classes', type=int, help='(default: 10, or 1000 from ImageNet on)')
    parser.add_argument('--batch-size', type=int, default=1, help='of memory, latency (default: 1)')
    parser.add_argument('--repeats', type=int, default=20, help='of the latency (default: 20)')
    parser.add_argument('--no-latency', action='store_true', help='count only')
    cli.add_cfg_options(parser)
    parser.add_argument('--json', action='store_true', help='one JSON object')
    parser.add_argument('--memory-only', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.measure.complexity import NetworkSettings, measure, memory_alone, table


def main() -> None:
    args = vars(parse_args())
    as_json, memory_only = args.pop('json'), args.pop('memory_only')
    settings = NetworkSettings(latency=not args.pop('no_latency'), **args)
    if memory_only:
        print(memory_alone(settings))
        return
    result = measure(settings, [sys.executable, __file__, *sys.argv[1:], '--memory-only'])
    print(json.dumps(result) if as_json else table(result))


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
