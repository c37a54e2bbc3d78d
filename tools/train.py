"""Search an architecture, or train a network, from a config."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='a Python config: configs/search/*.py, configs/retrain/*.py')
    parser.add_argument('--work-dir', help='where the run writes (default: work_dirs/CONFIG)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        metavar='FILE',
        help='go on from the newest checkpoint of the work directory, or from FILE',
    )
    parser.add_argument(
        '--genotype',
        metavar='GENOTYPE',
        help="what a derived network is made of: a JSON file, a search's work directory, the name "
        'of a published one (DARTS_V2), or an official string',
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
    cli.add_launcher(parser)
    parser.add_argument(
        '--deterministic', action='store_true', help='deterministic algorithms (slower on a GPU)'
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='build everything, run one iteration of each kind, print sizes and expected time',
    )
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.apis.dry_run import dry_run
from rdarts.configuration.load import check_model, load_config, set_amp, set_genotype
from rdarts.configuration.options import parse_options
from rdarts.configuration.retraining import retraining_command, training_images
from rdarts.engine.runner import build_runner
from rdarts.engine.work_dir import lock_work_dir, prepare_work_dir, set_resume
from rdarts.genotypes import parse_genotype
from rdarts.models.alpha import find_alpha_owner
from rdarts.utils.commands import command, shown_path
from rdarts.utils.ranks import is_main_rank


def main() -> int:
    args = parse_args()
    if not args.dry_run:
        cli.outlive_output()
    cfg = load_config(args.config, parse_options(args.cfg_options))
    cfg.work_dir = str(
        args.work_dir or cfg.get('work_dir') or Path('work_dirs') / Path(args.config).stem
    )
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    if args.deterministic:
        cfg.randomness = dict(cfg.get('randomness') or {}, deterministic=True)
    if args.amp:
        set_amp(cfg, args.amp)
    if args.genotype is not None:
        set_genotype(cfg, args.genotype)
    check_model(cfg, starts=not args.resume)
    cfg.new_head = args.new_head
    cli.set_launcher(cfg, args.launcher)
    if args.dry_run:
        dry_run(cfg)
        return 0
    lock_work_dir(cfg.work_dir)
    prepare_work_dir(cfg.work_dir, keep=bool(args.resume))
    if args.resume:
        set_resume(cfg, args.resume)
    runner = build_runner(cfg)
    runner.train()
    path = Path(cfg.work_dir) / 'genotype.json'
    if is_main_rank() and (cfg.get('default_hooks') or {}).get('genotype'):
        genotype = parse_genotype(path.read_text(encoding='utf-8'))
        print(f'\ngenotype: {genotype.to_string()}')
        print(f'saved in: {shown_path(path)}')
        report = path.with_name('report.html')
        if report.is_file():
            print(f'report:   {shown_path(report)}')
        space, images = find_alpha_owner(runner.model).space, training_images(cfg)
        following = retraining_command(cfg.work_dir, space, images)
        drawn = command('analysis/draw_genotype.py', Path(cfg.work_dir))
        print(f'next:     {following or drawn}')
    cli.leave_group()
    return 0


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
