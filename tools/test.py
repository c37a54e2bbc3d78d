"""Evaluate a checkpoint on the test images of its config."""

from __future__ import annotations

import argparse
import os
import sys

from rdarts import cli
from rdarts.console import completers


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__)
    parser.add_argument(
        'config',
        help="a Python config; a run's own is WORK_DIR/config.py",
        completer=completers.configs('retrain', 'detection'),
    )
    parser.add_argument('checkpoint', help='a checkpoint file, or a work directory for its newest')
    parser.add_argument('--work-dir', help="where to write (default: the checkpoint's folder)")
    parser.add_argument(
        '--genotype', metavar='GENOTYPE', help='see tools/train.py', completer=completers.genotypes
    )
    parser.add_argument('--out', metavar='FILE', help='write the figures as JSON')
    cli.add_cfg_options(parser)
    cli.add_launcher(parser)
    cli.add_quiet(parser)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


if __name__ == '__main__':
    cli.start(parse_args, cli.loading_line)  # before the imports below, which take seconds

from rdarts.apis.runs import configure_test, evaluate
from rdarts.configuration.options import parse_options
from rdarts.utils.terminal import set_output


def main() -> None:
    args = parse_args()
    if args.out:
        cli.outlive_output()
    set_output(args.quiet)
    cfg = configure_test(
        args.config,
        args.checkpoint,
        parse_options(args.cfg_options),
        work_dir=args.work_dir,
        genotype=args.genotype,
    )
    cli.set_launcher(cfg, args.launcher)
    evaluate(cfg, args.out)
    cli.leave_group()


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
