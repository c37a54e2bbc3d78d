"""Plot searches over their epochs, each picture with its numbers as CSV.

accuracy      test accuracy of the current cell in the table, against the optimum
supernet      accuracy of the supernet on alpha's half of the training images
losses        L_train and L_val
cosine        cosine of grad L_val with grad (L_val + lambda r), by cell type
weights       mean weight of parameter-free and of parameterised operations
entropy       mean entropy of an edge, and its parts by these two kinds
edges         weights of every edge (a picture for each search)
leaders       share of the edges still led by the operation that led after the first epoch
skips         skip connections, by cell type
lambda        accuracy, skip connections and entropy at the end against lambda
distribution  all cells of NAS-Bench-201 with the found ones marked
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

from rdarts import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'work_dirs',
        nargs='+',
        metavar='WORK_DIR',
        help='work directory of a search, or a folder of such; folders seed_N of one folder are '
        'one method, shown as mean and range',
    )
    parser.add_argument('--plots', nargs='+', metavar='NAME', help='which (default: all)')
    parser.add_argument(
        '--out',
        help='folder to write to, or with one plot the picture itself (default: plots/ in the '
        'first WORK_DIR)',
    )
    parser.add_argument('--format', default='png', help='png, svg or pdf (default: png)')
    parser.add_argument('--table', help='the NAS-Bench-201 table (default: where data are)')
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

from rdarts.benchmarks import open_table
from rdarts.errors import UserError, nearest
from rdarts.results.search_run import SearchRun, begun_runs, find_runs
from rdarts.visualization.plots import PLOTS, NothingToPlot, plot_runs
from rdarts.visualization.style import FORMATS


def main() -> None:
    args = parse_args()
    names = args.plots or list(PLOTS)
    for name in names:
        if name not in PLOTS:
            raise UserError(f"no plot '{name}': {nearest(name, PLOTS)}")
    suffix = f'.{args.format.lower().removeprefix(".")}'
    if suffix not in FORMATS:
        raise UserError(f"--format must be png, svg or pdf, but is '{args.format}'")
    runs = begun_runs(find_runs(args.work_dirs))
    table = open_table(args.table)
    out = Path(args.out) if args.out else Path(args.work_dirs[0]) / 'plots'
    single = out if out.suffix.lower() in FORMATS else None
    if single and len(names) != 1:
        raise UserError(f'--out {out} is one picture: name one with --plots, or give a folder')
    folder = out.parent if single else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot write into {folder}: {error.strerror}') from None
    for name in names:
        for shown, file in pictures(name, runs, folder, suffix, single):
            try:
                plot_runs(shown, name, file, table)
            except NothingToPlot as error:
                if args.plots:
                    raise UserError(f'{name} cannot be drawn: {error}') from None
                print(f'left out: {name}: {error}')
                continue
            print(f'{file}, {file.with_suffix(".csv").name}')


def pictures(
    name: str, runs: list[SearchRun], folder: Path, suffix: str, single: Path | None
) -> list[tuple[list[SearchRun], Path]]:
    """Which runs go into which files."""
    if name != 'edges' or single or len(runs) == 1:
        return [(runs, single or folder / f'{name}{suffix}')]
    files: dict[str, SearchRun] = {}
    for run in runs:
        stem = f'{name}_{run.method.replace("/", "_")}'
        if run.seed is not None:
            stem += f'_seed_{run.seed}'
        again = (f'{stem}_{number}' for number in itertools.count(2))
        files[next(s for s in itertools.chain([stem], again) if s not in files)] = run
    return [([run], folder / f'{stem}{suffix}') for stem, run in files.items()]


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
