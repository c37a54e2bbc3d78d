"""The cells that a search in NAS-Bench-201 gives after each epoch, with and without `none`: CSV.

python docs/en/examples/cells_without_none.py WORK_DIR
"""

import csv
import sys

import torch

from rdarts.architect.discretizers import Argmax
from rdarts.benchmarks import open_table
from rdarts.cli import run_guarded
from rdarts.errors import UserError
from rdarts.results.log import read_search_log
from rdarts.search_spaces import build_space

COLUMNS = ('cell', 'test accuracy on CIFAR-10 (%)', 'none', 'skip connections')


def main():
    if len(sys.argv) != 2:
        raise UserError('give the work directory of a search')
    space, table = build_space('nas_bench_201'), open_table()
    if table is None:
        raise UserError('no NAS-Bench-201 table: set RDARTS_DATA')
    writer = csv.writer(sys.stdout, lineterminator='\n')
    without = [f'{name}, without none' for name in COLUMNS]
    writer.writerow(['epoch', 'mean entropy (nats)', *COLUMNS, *without])
    for row in read_search_log(sys.argv[1], 'epoch'):
        line = [row['epoch'], f'{row["mean_entropy"]:.4f}']
        alphas = {name: torch.tensor(alpha) for name, alpha in row['alpha'].items()}
        for allow_none in (True, False):
            cell = Argmax(allow_none=allow_none)(alphas, space)
            found, operations = table.query(cell.to_string()), cell.operations()
            line += [found.index, f'{found.accuracy("cifar10", "test"):.2f}']
            line += [operations.count('none'), operations.count('skip_connect')]
        writer.writerow(line)


if __name__ == '__main__':
    sys.exit(run_guarded(main))
