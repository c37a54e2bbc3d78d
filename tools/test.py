"""Evaluate a checkpoint on the test images of its config."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help="a Python config; a run's own is WORK_DIR/config.py")
    parser.add_argument('checkpoint', help='a checkpoint file, or a work directory for its newest')
    parser.add_argument('--work-dir', help="where to write (default: the checkpoint's folder)")
    parser.add_argument('--genotype', metavar='GENOTYPE', help='see tools/train.py')
    parser.add_argument('--out', metavar='FILE', help='write the figures as JSON')
    cli.add_cfg_options(parser)
    cli.add_launcher(parser)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.checkpoint.directory import find_checkpoint
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.configuration.options import parse_options
from rdarts.engine.runner import TEST_HOOKS, build_runner
from rdarts.engine.work_dir import prepare_work_dir
from rdarts.errors import UserError
from rdarts.utils.files import write_atomically
from rdarts.utils.ranks import is_main_rank


def main() -> int:
    args = parse_args()
    if args.out:
        cli.outlive_output()
    cfg = load_config(args.config, parse_options(args.cfg_options))
    path = Path(args.checkpoint)
    if path.is_dir():
        found = find_checkpoint(path)
        if found is None:
            raise UserError(f'no checkpoint in {path}')
        path = found
    elif not path.is_file():
        raise UserError(f'checkpoint not found: {path}')
    if args.genotype is not None:
        set_genotype(cfg, args.genotype)
    check_model(cfg, starts=False)
    if cfg.get('test_dataloader') is None:
        raise UserError(f'{args.config} has no test_dataloader')
    cli.set_launcher(cfg, args.launcher)
    cfg.work_dir = str(prepare_work_dir(args.work_dir or path.parent / 'test', keep=True))
    cfg.load_from, cfg.resume = str(path), False
    # What trains is not built
    cfg.default_hooks = {
        key: value for key, value in cfg.default_hooks.items() if key in TEST_HOOKS
    }
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg[key] = None
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg[key] = None
    figures = build_runner(cfg).test()
    if is_main_rank():
        figures = {key: float(value) for key, value in figures.items()}
        for key, value in figures.items():
            print(f'{key}: {value:.4f}')
        if args.out:
            write_atomically(Path(args.out), (json.dumps(figures, indent=1) + '\n').encode())
    cli.leave_group()
    return 0


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
