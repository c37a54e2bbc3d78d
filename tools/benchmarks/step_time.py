"""Time of a search step (one of alpha with BER, one of the weights) in every execution.

The executions start from the same weights and take turns within one process; figures are
medians. The limit is the floating-point work that a step cannot do without, at the rate of this
machine's float32 matrix products; the roofline has for each operator of the fused execution the
larger of that and of the bytes that it must read and write, at the rate of a copy.

With --device, the executions of that device (compiled ones, and on a GPU CUDA graphs and Triton's
kernels, too) in every precision, each in a process of its own: a table in Markdown.
"""

from __future__ import annotations

import argparse
import sys

import arguments

from rdarts import cli
from rdarts.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = arguments.make_parser(__doc__, steps=20, warmup=3)
    parser.add_argument(
        '--profile',
        action='store_true',
        help="instead: where the time of the last execution's step goes on the CPU, by operator, "
        "and how far each is from the machine's limit",
    )
    parser.add_argument(
        '--scaling',
        action='store_true',
        help="instead: the last execution's step on the CPU of one thread and of --threads, in "
        'turns, and '
        'which operators do not scale',
    )
    parser.add_argument(
        '--device',
        choices=['cpu', 'cuda'],
        help='instead: the table of a device, in Markdown',
    )
    parser.add_argument(
        '--limit',
        type=float,
        metavar='SECONDS',
        help='with --device: that an execution may take, all its precisions together '
        '(default: 180)',
    )
    parser.add_argument('--child', help=argparse.SUPPRESS)
    parser.set_defaults(executions=None)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.measure import device_table, scaling, step
from rdarts.measure.describe import print_json
from rdarts.measure.settings import StepSettings
from rdarts.measure.step_profile import print_profile


def main() -> None:
    args = vars(parse_args())
    as_json, profile, scales = args.pop('json'), args.pop('profile'), args.pop('scaling')
    device, limit, child = args.pop('device'), args.pop('limit'), args.pop('child')
    executions = args.pop('executions')
    if device is not None:
        if profile or scales or args['amp']:
            other = '--profile' if profile else '--scaling' if scales else '--amp'
            raise UserError(f'--device prints a table of its own: leave out {other}')
        names = device_table.check(device, executions)
        settings = StepSettings(**args, device=device).prepare()
        if child is not None:
            for row in device_table.rows(settings, device, child):
                print_json(row)
            return
        command = [sys.executable, __file__]
        result = device_table.table(
            settings, device, names, 180 if limit is None else limit, command
        )
        print_json(result) if as_json else device_table.print_table(settings, result)
        return
    if limit is not None:
        raise UserError('--limit is of the table of a device: add --device, or leave it out')
    if executions is not None:
        args['executions'] = executions
    device = 'cpu' if profile or scales else None
    settings = StepSettings(**args, device=device).prepare()
    if (profile or scales) and as_json:
        raise UserError(f'--{"profile" if profile else "scaling"} prints a table: leave out --json')
    if profile and scales:
        raise UserError('--profile and --scaling: one at a time')
    if profile:
        print_profile(settings)
        return
    if scales:
        scaling.print_table(settings, scaling.measure(settings))
        return
    result = step.step_time(settings)
    if as_json:
        print_json(result)
    else:
        step.print_table(settings, result)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
