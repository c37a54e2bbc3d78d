"""Search an architecture, or train a network, from a config."""

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
        help='a Python config: configs/search/*.py, configs/retrain/*.py',
        completer=completers.configs(),
    )
    parser.add_argument('--work-dir', help='where the run writes (default: work_dirs/CONFIG)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        metavar='FILE',
        help='go on from the newest checkpoint of the work directory, or from FILE',
    )
    parser.add_argument(
        '--from-phase',
        type=int,
        metavar='K',
        help='of a search in phases: begin phase K anew, counted from 0, and keep those before it',
    )
    parser.add_argument(
        '--genotype',
        metavar='GENOTYPE',
        help="what a derived network is made of: a JSON file, a search's work directory, the name "
        'of a published one (DARTS_V2), or an official string',
        completer=completers.genotypes,
    )
    parser.add_argument(
        '--new-head',
        action='store_true',
        help='with load_from: load all weights but those of the head, for other classes',
    )
    cli.add_cfg_options(parser, 'set keys of the config, e.g. default_hooks.architect.lambda_=.75')
    parser.add_argument('--seed', type=int, help="random seed (default: the config's, 0)")
    parser.add_argument(
        '--amp',
        nargs='?',
        const='bf16',
        choices=['bf16', 'fp16'],
        help='mixed precision: bf16 on any device (the default), fp16 with scaling on a GPU',
    )
    compiling = parser.add_mutually_exclusive_group()
    compiling.add_argument(
        '--compile',
        nargs='?',
        const=True,
        default=False,
        metavar='BACKEND',
        help="compile the network by torch.compile, with its own back end or another ('aot_eager')",
    )
    compiling.add_argument(
        '--cuda-graph',
        action='store_true',
        help='compile it into CUDA graphs, which start as a whole; on a GPU',
    )
    cli.add_launcher(parser)
    cli.add_quiet(parser)
    parser.add_argument(
        '--deterministic', action='store_true', help='deterministic algorithms (slower on a GPU)'
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='build everything, run one iteration of each kind, print sizes and expected time',
    )
    args = parser.parse_args()
    for other in ('resume', 'dry_run'):
        if args.from_phase is not None and getattr(args, other):
            option = '--' + other.replace('_', '-')
            parser.error(f'--from-phase does not go with {option}: give one of them')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


if __name__ == '__main__':
    cli.start(parse_args, cli.loading_line)  # before the imports below, which take seconds

from rdarts.apis.dry_run import dry_run
from rdarts.apis.runs import configure_training, train
from rdarts.configuration.options import parse_options
from rdarts.utils.terminal import set_output


def main() -> None:
    args = parse_args()
    if not args.dry_run:
        cli.outlive_output()
        set_output(args.quiet, bar=True)
    cfg = configure_training(
        args.config,
        parse_options(args.cfg_options),
        work_dir=args.work_dir,
        genotype=args.genotype,
        amp=args.amp,
        seed=args.seed,
        deterministic=args.deterministic,
        new_head=args.new_head,
        starts=not args.resume and args.from_phase is None,
        compiled=args.compile,
        cuda_graph=args.cuda_graph,
    )
    cli.set_launcher(cfg, args.launcher)
    if args.dry_run:
        dry_run(cfg)
        return
    train(cfg, args.resume, args.from_phase)
    cli.leave_group()


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
