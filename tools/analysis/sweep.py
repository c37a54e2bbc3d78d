"""Search under options that Optuna proposes, and find those with the best validation accuracy.

Each trial is a search in a folder of its own, WORK_DIR/trial_NUMBER, that is ended early where it
is worse than others were. The trials are in a database: the same command started again, also on
another machine that sees it, takes trials of the same sweep, and what was killed goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rdarts import cli
from rdarts.configuration.config_names import config_path
from rdarts.console import completers


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'config',
        help='of the searches, as of tools/train.py',
        type=config_path,
        completer=completers.configs('search'),
    )
    parser.add_argument(
        '--param',
        action='append',
        required=True,
        metavar='KEY=FORM',
        help='an option to try, once or more: KEY=log:LOW:HIGH, uniform:LOW:HIGH, int:LOW:HIGH or '
        'choice:A,B,...',
    )
    parser.add_argument(
        '--trials', type=int, default=20, metavar='N', help='how many in all (default: 20)'
    )
    parser.add_argument(
        '--goal',
        default='val',
        help="what is to be high: the accuracy of the search's own validation (val, the default), "
        'or a data set of the NAS-Bench-201 table, whose validation accuracy of the cell it is',
    )
    parser.add_argument(
        '--sampler', choices=['tpe', 'random', 'gp'], default='tpe', help='(default: tpe)'
    )
    parser.add_argument(
        '--pruner',
        choices=['median', 'halving', 'none'],
        default='median',
        help='what ends trials early (default: median)',
    )
    parser.add_argument(
        '--startup',
        type=int,
        default=5,
        metavar='N',
        help='trials that are done before the median ends one (default: 5)',
    )
    parser.add_argument(
        '--warmup',
        type=int,
        default=1,
        metavar='N',
        help='epochs before which none is ended (default: 1)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of searches and sampler (default: 0)')
    parser.add_argument('--work-dir', help='(default: work_dirs/sweeps/CONFIG)')
    parser.add_argument(
        '--storage',
        metavar='URL',
        help='a database of Optuna (default: the SQLite file sweep.db in the work directory)',
    )
    cli.add_cfg_options(parser, 'options of every search, as of tools/train.py')
    args = parser.parse_args()
    for name, least in (('trials', 1), ('startup', 0), ('warmup', 0), ('seed', 0)):
        if getattr(args, name) < least:
            parser.error(f'--{name} must be at least {least}')
    return args


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.study.sweep import Sweep, check_sweep, run_sweep
from rdarts.study.sweep_files import write_sweep
from rdarts.study.sweep_params import read_parameters


def main() -> int:
    args = vars(parse_args())
    args['parameters'] = read_parameters(args.pop('param'))
    args['work_dir'] = args['work_dir'] or str(Path('work_dirs/sweeps', Path(args['config']).stem))
    sweep = Sweep(**args)
    cfg = check_sweep(sweep)
    cli.outlive_output()
    study = run_sweep(sweep, cfg)
    write_sweep(study, sweep)
    return 0 if any(trial.state.name == 'COMPLETE' for trial in study.get_trials()) else 1


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
