"""The options that all benchmarks of a search step have; nothing slow to load is imported here."""

from __future__ import annotations

from rdarts import cli
from rdarts.measure.settings import EXECUTIONS, METHOD


def make_parser(description: str, steps: int, warmup: int, method: str = METHOD) -> cli.Parser:
    """The options that all benchmarks have.

    Args:
        description (str): What the tool does.
        steps (int): Default of ``--steps``.
        warmup (int): Default of ``--warmup``.
        method (str): What ``--method`` is where nothing is said, in a space by its name.
    """
    parser = cli.Parser(description=description)
    parser.add_argument(
        '--space',
        default='nb201',
        metavar='NAME',
        help='a space as configs/search names it (darts, s1, mobilenet_like), or the path of a '
        'config that searches one (default: nb201)',
    )
    parser.add_argument(
        '--method',
        metavar='NAME',
        help=f'a method as configs/search names it, in a space by its name (default: {method})',
    )
    parser.add_argument('--batch-size', type=int, default=64, help='images (default: 64)')
    parser.add_argument(
        '--width',
        type=int,
        default=16,
        help='channels C; mobilenet_like: of the first block, others in proportion (default: 16)',
    )
    parser.add_argument(
        '--depth',
        type=int,
        help='nb201: cells a stage, N (default: 5); mobilenet_like: layers a stage, but for the '
        'last (default: 4); others: cells (default: 8)',
    )
    parser.add_argument('--image-size', type=int, default=32, help='pixels a side (default: 32)')
    parser.add_argument('--order', type=int, help="1, or 2 (unrolled) (default: the method's)")
    parser.add_argument('--amp', action='store_true', help='bfloat16 beside float32')
    parser.add_argument(
        '--checkpoint',
        action='store_true',
        help='the backward pass computes each cell, or layer, anew',
    )
    parser.add_argument(
        '--steps', type=int, default=steps, help=f'steps that count (default: {steps})'
    )
    parser.add_argument(
        '--warmup', type=int, default=warmup, help=f'steps before them (default: {warmup})'
    )
    parser.add_argument('--threads', type=int, help="of PyTorch (default: PyTorch's own choice)")
    parser.add_argument('--seed', type=int, default=0, help='of weights and images (default: 0)')
    parser.add_argument(
        '--processor-time',
        action='store_true',
        help='seconds that the cores work for this process, all of them together, in place of '
        'those that pass: other programs move them less (with --threads 1)',
    )
    parser.add_argument(
        '--executions',
        nargs='+',
        default=list(EXECUTIONS),
        metavar='NAME',
        help=f'some of {", ".join(EXECUTIONS)} (default: all)',
    )
    parser.add_argument('--json', action='store_true', help='one JSON object as the last line')
    return parser
