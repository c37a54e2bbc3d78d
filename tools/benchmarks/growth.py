"""Time and peak memory of a search step as one of its sizes grows, a fresh process for each size.

What grows takes the place of its option; all else is as the options say. An exponent is the power
of the size that time, or memory, grows with from one row to the next: 1 is in proportion. Memory
is above the idle process, as memory.py measures it, of the same steps that are timed. Candidates
are the space's own but for `none`, in turn and again; nodes are those of a cell that are no inputs.
Always on the CPU; figures hold for other programs beside it with --threads 1 --processor-time.
"""

from __future__ import annotations

import argparse
import json
import sys

import arguments

from rdarts import cli
from rdarts.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = arguments.make_parser(__doc__, steps=3, warmup=1)
    parser.add_argument(
        '--by', required=True, help='batch, width, depth, candidates, nodes or image'
    )
    parser.add_argument(
        '--values', type=int, nargs='+', help='its sizes, rising (default: a few usual ones)'
    )
    parser.add_argument(
        '--limit',
        type=float,
        metavar='SECONDS',
        help='that one size of one execution may take (default: none)',
    )
    parser.add_argument('--markdown', action='store_true', help='print tables of Markdown')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.amp:
        raise UserError('steps are in float32 here: leave out --amp')
    return args


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.measure.describe import print_json
from rdarts.measure.growth import as_tables, growth, measure
from rdarts.measure.settings import StepSettings


def main() -> int:
    args = vars(parse_args())
    own = {key: args.pop(key) for key in ('by', 'values', 'limit', 'json', 'markdown', 'child')}
    settings, by = StepSettings(**args, device='cpu').prepare(), own['by']
    if own['child']:
        print_json(measure(settings, own['child'], by, *own['values']))
        return 0
    rows = growth(settings, by, own['values'], [sys.executable, __file__], own['limit'])
    code = int(all(row['failure'] for row in rows))
    if own['json']:
        print('\n'.join(map(json.dumps, rows)))
        return code
    tables = as_tables(settings, by, rows)
    texts = [one.as_markdown() if own['markdown'] else one.as_text() for one in tables]
    print('\n'.join(texts), end='')
    return code


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
