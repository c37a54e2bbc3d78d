"""Time of a derived network's training step and of its evaluation, in every way that it runs.

The ways start from the same weights and take turns within one process; figures are medians. A
training step is forward, backward, the clip of gradients and a step of SGD. `plain` is NCHW, as
official codes run.
"""

from __future__ import annotations

import argparse
import sys

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument(
        '--genotype',
        default='DARTS_V2',
        help='a published name, a JSON file, the work directory of a search, or an official '
        'string (default: %(default)s)',
    )
    parser.add_argument('--space', metavar='NAME', help='default: the one that it names')
    parser.add_argument(
        '--width', type=int, help="channels of the first cells (default: the network's)"
    )
    parser.add_argument(
        '--depth', type=int, help="cells, or cells a stage (default: the network's)"
    )
    parser.add_argument(
        '--drop-path', type=float, default=0.0, help='probability (default: %(default)s)'
    )
    for name, default, text in (
        ('batch-size', 16, 'images'),
        ('image-size', 32, 'pixels a side'),
        ('steps', 5, 'steps that count'),
        ('warmup', 1, 'steps before them'),
        ('seed', 0, 'of weights, images and drop-path'),
    ):
        parser.add_argument(
            f'--{name}', type=int, default=default, help=f'{text} (default: %(default)s)'
        )
    parser.add_argument('--threads', type=int, help="of PyTorch (default: PyTorch's own choice)")
    parser.add_argument(
        '--processor-time', action='store_true', help='seconds of processors, not of the clock'
    )
    parser.add_argument(
        '--executions', nargs='+', metavar='NAME', help='some of them (default: all)'
    )
    parser.add_argument(
        '--compile',
        type=float,
        metavar='SECONDS',
        help='torch.compile as well, in a process that is ended after so long',
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object instead')
    parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.measure import net_time
from rdarts.measure.describe import print_json


def main() -> None:
    args = vars(parse_args())
    as_json, child, limit = args.pop('json'), args.pop('child'), args.pop('compile')
    ways = args.pop('executions')
    settings = net_time.NetSettings(**args, ways=ways or net_time.WAYS)
    if child:
        print_json(net_time.measure_compiled(settings))
        return
    compiled, why = None, ''
    if limit is not None:
        compiled, why = net_time.compiled_apart(settings, limit, [sys.executable, __file__])
    result = net_time.summarise(settings, net_time.measure(settings), compiled)
    if as_json:
        print_json(result)
        return
    net_time.print_table(result)
    if why:
        print(f'\ntorch.compile: {why}')


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
