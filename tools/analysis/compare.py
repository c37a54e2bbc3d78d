"""Run methods over seeds, and compare the cells that they find.

What is run is a study (configs/studies/table1.py), configs of searches, or --methods in a --space
on --data.

Each (config, seed) is a search in a folder of its own, WORK_DIR/CONFIG/seed_SEED. What has ended is
not run again, what was interrupted goes on. Cells of NAS-Bench-201 are looked up in the table;
those of other spaces are trained by --retrain, or taken trained from --checkpoints.
"""

from __future__ import annotations

import argparse
import sys

from rdarts import cli
from rdarts.configuration.config_names import config_path
from rdarts.console import completers
from rdarts.study.executors.options import (
    NAMES,
    add_executor_options,
    build_executor,
    check_options,
)


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'configs',
        nargs='*',
        metavar='CONFIG',
        help='configs of searches, or one study',
        type=config_path,
        completer=completers.configs('search', 'studies'),
    )
    parser.add_argument(
        '--methods',
        nargs='+',
        metavar='METHOD',
        help='without CONFIG, all for every one; of a study: only these',
    )
    parser.add_argument('--space', nargs='+', help='of --methods, such as nb201; of a study: part')
    parser.add_argument('--data', nargs='+', help='of --methods, such as c10; of a study: part')
    parser.add_argument(
        '--small',
        action='store_true',
        help='data, networks and epochs scaled as the study says; of methods in nb201, as studies '
        'of it',
    )
    parser.add_argument(
        '--seeds', type=int, metavar='N', help='seeds (default: those of the study, or 10)'
    )
    parser.add_argument(
        '--first-seed',
        type=int,
        metavar='K',
        help='seeds K to K + N - 1, such as the share of one of several machines (default: 0)',
    )
    parser.add_argument(
        '--limit-seconds',
        type=float,
        metavar='S',
        help='how long a search may take: it ends after the epoch, or the query, in which that is '
        'over, and counts with what it has found then',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        help='runs at a time, each on a GPU of its own where there are several (default: 1, and '
        'all on a cluster)',
    )
    parser.add_argument(
        '--work-dir', help='(default: work_dirs/compare, of a study work_dirs/studies/STUDY)'
    )
    parser.add_argument('--table', help='the NAS-Bench-201 table (default: where data are)')
    parser.add_argument(
        '--random', type=int, metavar='K', help='best of K random cells (default: 10)'
    )
    parser.add_argument(
        '--query-seconds',
        type=float,
        metavar='S',
        help='how long training one cell of the table takes: what local search reaches in the time '
        'of a search',
    )
    parser.add_argument(
        '--without-none',
        action='store_true',
        help='beside each method also the cell that its last weights give where `none` is left out',
    )
    parser.add_argument(
        '--retrain',
        metavar='CONFIG',
        help='how to train found cells of spaces without a table',
        type=config_path,
        completer=completers.configs('retrain'),
    )
    parser.add_argument(
        '--checkpoints',
        metavar='DIR',
        help='instead of searching and training: evaluate the networks in DIR/CONFIG/seed_SEED, '
        'work directories of retrainings',
    )
    cli.add_cfg_options(parser, 'options of every search, as of tools/train.py')
    parser.add_argument(
        '--retrain-options', nargs='+', default=[], metavar='KEY=VALUE', help='of every retraining'
    )
    parser.add_argument(
        '--wide',
        action='store_true',
        help='print every column, as the files have them, instead of what fits 100 characters',
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='list the runs and the time that they would take'
    )
    parser.add_argument(
        '--no-measure', action='store_true', help='with --dry-run: list the runs alone'
    )
    add_executor_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.errors import UserError
from rdarts.study.kinds import cancel, compare, expect
from rdarts.study.queue import RETRIES
from rdarts.study.study_file import comparison_of


def main() -> int:
    args = vars(parse_args())
    dry_run, wide = args.pop('dry_run'), args.pop('wide')
    options, jobs = {name: args.pop(name) for name in NAMES}, args.pop('jobs')
    measures = not args.pop('no_measure')
    if not measures and not dry_run:
        raise UserError('--no-measure is of --dry-run')
    resources, is_local = check_options(options, jobs), options['executor'] == 'local'
    plan = comparison_of(**args, jobs=1 if jobs is None else jobs)
    if dry_run:
        places = plan.jobs if is_local else jobs
        expect(plan, measures, places, None if is_local else resources.cpus)
        return 0
    executor = build_executor(options, jobs)
    if options['cancel']:
        cancel(plan, executor)
        return 0
    cli.outlive_output()
    retries = RETRIES if options['retries'] is None else options['retries']
    return compare(plan, wide, executor, retries)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
