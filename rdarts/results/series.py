"""What pictures and the report show of a search over its epochs: name -> reader of a run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rdarts.benchmarks import NASBench201
from rdarts.genotypes import Genotype, skips_by_cell
from rdarts.results.digest import ITERATION
from rdarts.results.row import number, tells_of_alpha
from rdarts.results.search_run import SearchRun
from rdarts.search_spaces import SearchSpace

# as the data sets' classes say: to import these takes seconds, so a test compares them
DATASET_NAMES = {
    'cifar10': 'CIFAR-10',
    'cifar100': 'CIFAR-100',
    'imagenet16_120': 'ImageNet16-120',
}
NUMBERS = {
    'relaxation': '',
    'mixed_op': ' of the mixed operation',
    'architect': ' of the architect',
}
"""Where rows of epochs have numbers of the method, and how these are called beside their names."""
KINDS = {'parameter_free': 'parameter-free', 'parameterised': 'parameterised'}
NEAR_UNIFORM = 0.1
"""Weights are called near-uniform where none is further from the mean of its edge, as a share."""
Reader = Callable[[SearchRun], Mapping[int, float]]


def of_epochs(read: Callable[[SearchRun, Mapping[str, Any]], float | None]) -> Reader:
    """A reader of one number of every epoch's row; None where it has none."""

    def values(run: SearchRun) -> dict[int, float]:
        found = {row['epoch']: read(run, row) for row in run.epochs}
        return {epoch: value for epoch, value in found.items() if value is not None}

    return values


def of_cells(read: Callable[[SearchRun, Mapping[str, Any]], float | None]) -> Reader:
    """As :func:`of_epochs`, of the epochs alone that tell of alpha and have a genotype."""
    return of_epochs(lambda run, row: read(run, row) if tells_of_alpha(row) else None)


def losses() -> dict[str, Reader]:
    """L_train and L_val, means over the logged iterations of an epoch (nats)."""
    return {
        'L_train': lambda run: run.means('loss'),
        'L_val': lambda run: run.means('arch_loss'),
    }


def entropies() -> dict[str, Reader]:
    """Mean entropy of an edge, and its parts by kind of operation (Fig. 5, nats).

    A kind's is the sum of -beta log beta within it, averaged over the edges that have candidates
    of it (the paper defines no entropy of a kind).
    """
    return {'all operations': of_cells(lambda run, row: row['mean_entropy']), **_kinds('entropy')}


def kind_weights() -> dict[str, Reader]:
    """Mean weight of parameter-free and of parameterised operations (Fig. 4)."""
    return _kinds('weight')


def _kinds(what: str) -> dict[str, Reader]:
    return {
        name: of_epochs(lambda run, row, kind=kind: number(row, 'kinds', kind, what))
        for kind, name in KINDS.items()
    }


def cell_names(space: SearchSpace) -> dict[str, str]:
    """Cell type -> its name in a picture; empty where there is only one."""
    return {cell: f'{cell} cell' if len(space.cells) > 1 else '' for cell in space.cells}


def cosines(space: SearchSpace) -> dict[str, Reader]:
    """Cosine of grad L_val with grad (L_val + lambda r), by cell type (Fig. 3b)."""
    return {
        name: lambda run, cell=cell: run.means('arch_cosine_total', cell)
        for cell, name in cell_names(space).items()
    }


def _named(runs: Sequence[SearchRun], key: str, kind: str) -> list[str]:
    """The names below a key of the rows of a kind."""
    if kind == ITERATION:
        return list(dict.fromkeys(name for run in runs for name in run.digest.names(key)))
    rows = (row.get(key) for run in runs for row in run.of_kind(kind))
    return list(dict.fromkeys(name for row in rows if isinstance(row, Mapping) for name in row))


def regularizers(runs: Sequence[SearchRun]) -> dict[str, Reader]:
    """R(alpha) of each regulariser that a run logged, by its name, without the factor."""
    names = _named(runs, 'regularizers', 'iter')
    return {name: lambda run, name=name: run.means('regularizers', name, 'value') for name in names}


def numbers(runs: Sequence[SearchRun]) -> dict[str, Reader]:
    """What a method may change over the epochs: a temperature, the factor of a regulariser."""
    found = {
        f'{"λ" if name == "lambda_" else name}{what}': of_epochs(
            lambda run, row, keys=(key, name): number(row, *keys)
        )
        for key, what in NUMBERS.items()
        for name in _named(runs, key, 'epoch')
    }
    terms = [name for kind in ('iter', 'epoch') for name in _named(runs, 'regularizers', kind)]
    found.update({f'λ of {name}': lambda run, name=name: _factors(run, name) for name in terms})
    return found


def steps(runs: Sequence[SearchRun]) -> dict[str, Reader]:
    """What an architect says of its steps, as means of an epoch: an alignment, a trace."""
    return {
        f'{name}, mean of an epoch': lambda run, name=name: run.means('architect', name)
        for name in _named(runs, 'architect', 'iter')
    }


def _factors(run: SearchRun, name: str) -> dict[int, float]:
    keys = ('regularizers', name, 'lambda_')
    # logs of earlier versions have it in the rows of iterations alone
    return {**run.means(*keys), **of_epochs(lambda run, row: number(row, *keys))(run)}


def skips(space: SearchSpace) -> dict[str, Reader]:
    """Skip connections of the current genotype, by cell type."""
    known: dict[tuple[Any, str], Mapping[str, int]] = {}  # a run forgets its genotypes

    def count(run: SearchRun, row: Mapping[str, Any], cell: str) -> int | None:
        key = (run.folder, row['genotype'])
        if key not in known:
            known[key] = skips_by_cell(run.genotype_of(row))
        return known[key].get(cell)

    return {
        name: of_cells(lambda run, row, cell=cell: count(run, row, cell))
        for cell, name in cell_names(space).items()
    }


def leaders(run: SearchRun) -> dict[int, float]:
    """Share of the edges (%) that are led by the operation which led them after the first epoch."""
    first = _leaders(run, run.epochs[0])
    shares = {}
    for row in run.epochs:
        same = [a == b for a, b in zip(first, _leaders(run, row), strict=True)]
        shares[row['epoch']] = 100 * sum(same) / len(same)
    return shares


def _leaders(run: SearchRun, row: Mapping[str, Any]) -> list[int]:
    """The column of the largest weight of every edge."""
    return [
        max(range(len(weights)), key=weights.__getitem__)
        for cell in run.space.cells
        for weights in candidate_weights(run, row, cell)
    ]


def candidate_weights(run: SearchRun, row: Mapping[str, Any], cell: str) -> list[list[float]]:
    """Of every edge of a cell type, the weights of its candidates in an epoch."""
    return [[*map(float, row['weights'][group][index])] for group, index in run.space.slots(cell)]


def edge_weights(row: Mapping[str, Any], cell: str) -> list[float] | None:
    """The weights of the edges of a cell type in an epoch, where a method has any."""
    return row.get('edge_weights', {}).get(cell)


def alive(run: SearchRun, row: Mapping[str, Any], cell: str) -> list[list[bool]]:
    """Of every edge of a cell type, whether each candidate is still searched in an epoch."""
    if 'alive' in row:
        return row['alive'][cell]
    return [[True] * len(edge.candidates) for edge in run.space.cells[cell].edges]


def unevenness(run: SearchRun, row: Mapping[str, Any]) -> float:
    """How far a weight is from the mean of its edge, as a share of it: the largest of an epoch.

    Candidates that were dropped do not count; an edge that has one left, or none, is as uneven as
    can be.
    """
    largest = 0.0
    for cell in run.space.cells:
        masks = alive(run, row, cell)
        for edge, mask in zip(candidate_weights(run, row, cell), masks, strict=True):
            weights = list(itertools.compress(edge, mask))
            if len(weights) < min(2, len(edge)):
                return math.inf
            mean = sum(weights) / len(weights)
            off = max(abs(weight - mean) for weight in weights)
            if off:
                largest = max(largest, off / abs(mean) if mean else math.inf)
    return largest


def near_uniform(run: SearchRun, row: Mapping[str, Any]) -> str | None:
    """What there is to say of an epoch's weights that hardly differ; None where they do."""
    share = unevenness(run, row)
    if share > NEAR_UNIFORM:
        return None
    return f'near-uniform weights (each within {100 * share:.2g} % of the mean of its edge)'


def dataset_names(table: NASBench201 | None) -> dict[str, str]:
    """What the data sets are called that a table has, by its names of them; of none, all."""
    return {k: name for k, name in DATASET_NAMES.items() if table is None or k in table.datasets}


def accuracies(table: NASBench201 | None) -> dict[str, Reader]:
    """Test accuracy (%) of the current cell on each data set, from the table or else the log."""

    def found(run: SearchRun, row: Mapping[str, Any], dataset: str) -> float | None:
        if table is not None:
            return table_accuracy(table, run.genotype_of(row), dataset)
        return number(row, 'benchmark', dataset, 'test')

    return {
        name: of_cells(lambda run, row, dataset=dataset: found(run, row, dataset))
        for dataset, name in dataset_names(table).items()
    }


def best_accuracies(table: NASBench201 | None) -> dict[str, Reader]:
    """Query -> test accuracy (%) of the best cell so far, on each data set."""
    if table is None:
        return {}

    def found(run: SearchRun, dataset: str) -> dict[int, float]:
        queries = run.queries
        better = {
            query: table_accuracy(table, run.genotype_of(row), dataset)
            for query, row in queries.improvements
        }
        values, now = {}, 0.0
        for query in range(1, len(queries.rows) + 1):
            now = values[query] = better.get(query, now)
        return values

    return {
        name: lambda run, dataset=dataset: found(run, dataset)
        for dataset, name in dataset_names(table).items()
    }


def table_accuracy(table: NASBench201, genotype: Genotype, dataset: str) -> float:
    """Test accuracy (%) of a cell after 200 epochs."""
    return table.query(genotype).accuracy(dataset, 'test')


def optima(table: NASBench201 | None) -> dict[str, float]:
    """The best test accuracy (%) of any cell on each data set."""
    if table is None:
        return {}
    return {
        name: table.best(key, 'test').accuracy(key, 'test')
        for key, name in dataset_names(table).items()
    }
