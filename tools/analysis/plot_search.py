"""Plot the entropies of searches over their epochs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rdarts.engine.launch import run_guarded
from rdarts.visualization.search_log import plot_entropy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work directory')
    parser.add_argument('--out', help='picture to write (default: WORK_DIR/entropy.png)')
    args = parser.parse_args()
    path = Path(args.out) if args.out else Path(args.work_dirs[0]) / 'entropy.png'
    plot_entropy(args.work_dirs, path)
    print(f'{path}\n{path.with_suffix(".csv")}')


if __name__ == '__main__':
    sys.exit(run_guarded(main))
