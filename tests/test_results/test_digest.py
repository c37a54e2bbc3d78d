"""What is kept of a log: the same numbers as of all its rows, in a fraction of their memory."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from synthetic import ROOT, write_search

from rdarts.configuration.load import load_config
from rdarts.measure.log_growth import write_log
from rdarts.results.digest import Digest
from rdarts.results.log import read_search_log
from rdarts.results.row import number
from rdarts.results.search_run import SearchRun

BRANCHES = [
    dict(epochs=2),
    dict(epochs=2, branches=2, continue_from_last=('alpha',), start=[]),
]


def write(folder, rows):
    (folder / 'search_log.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))


def iteration(epoch, **values):
    return dict(schema=1, kind='iter', epoch=epoch, iter=epoch, **values)


def expected_means(rows, *keys):
    found = {}
    for row in rows:
        value = number(row, *keys)
        if row['kind'] == 'iter' and value is not None:
            found.setdefault(row['epoch'], []).append(value)
    return {epoch: sum(values) / len(values) for epoch, values in found.items()}


def check(folder, keys):
    """Against all rows, which are read whole."""
    digest, rows = Digest(folder), read_search_log(folder)
    for path in keys:
        assert digest.means(*path) == expected_means(rows, *path)
    kinds = [row['kind'] for row in rows if row['kind'] != 'iter']
    assert [row['kind'] for row in digest.rows] == kinds
    for name in ('time', 'memory'):
        all_values = (number(row, name) for row in rows if row['kind'] == 'iter')
        values = [value for value in all_values if value is not None]
        assert max((value for _, value in digest.largest(name)), default=0) == max(
            values, default=0
        )
    return digest, rows


@pytest.mark.parametrize('phases', [(), BRANCHES], ids=['one run', 'branches'])
def test_means_of_a_search(tmp_path, phases):
    write_search(tmp_path, epochs=5, phases=phases)
    digest, rows = check(tmp_path, [('loss',), ('arch_cosine_total', 'cell'), ('nothing',)])
    assert digest.means('loss') and digest.names('regularizers') == ['ber']
    assert digest.factors == [0.75]
    epochs = [row for row in rows if row['kind'] == 'epoch']
    kept = [row for row in digest.rows if row['kind'] == 'epoch']
    for whole, row in zip(epochs, kept, strict=True):
        assert 'alpha' not in row and 'entropy' not in row
        assert row['mean_entropy'] == whole['mean_entropy']
        for name, weights in whole['weights'].items():
            assert np.array_equal(row['weights'][name], weights)


def test_what_was_gone_back_on_counts_no_more(tmp_path):
    rows = [iteration(epoch, loss=float(epoch), memory=9.0 - epoch) for epoch in (1, 1, 2, 3)]
    rows[-1].update(architect=dict(trace=1.0), regularizers=dict(ber=dict(lambda_=3.0)))
    rows[0]['regularizers'] = dict(ber=dict(lambda_=0.5))
    rows += [dict(kind='val', epoch=3), dict(kind='roll_back', epoch=1, left_epoch=3)]
    rows += [iteration(2, loss=7.0), iteration(2, loss=8.0)]
    write(tmp_path, rows)
    digest, _ = check(tmp_path, [('loss',), ('memory',), ('architect', 'trace')])
    assert digest.means('loss') == {1: 1.0, 2: 7.5}
    assert digest.names('architect') == [] and digest.factors == [0.5]


def test_numbers_that_are_none_or_not_finite(tmp_path):
    rows = [
        iteration(1, loss=None, a=dict(b=1), c=True, d='x', e=[1.0], time=1.5),
        iteration(1, loss=2, a=dict(b=float('nan')), f=10**400),
        iteration(1, loss=float('inf'), a=None, f=1, g=float('-inf')),
        iteration(2, a=dict(b=4.0, z=dict(y=1e-3))),
        iteration(1, loss=5.0),  # once more, as after branches that count alike
    ]
    write(tmp_path, rows)
    paths = [*'cdefg', ('loss',), ('a', 'b'), ('a', 'z', 'y'), ('a',)]
    digest, _ = check(tmp_path, paths)
    assert digest.means('loss') == {1: 3.5} and digest.means('f') == {1: 1.0}
    assert digest.names('a') == ['b', 'z']


def test_a_factor_that_changes(tmp_path):
    factors = [0.0, 0.0, 0.5, 0.5, 0.0]
    rows = [
        iteration(1 + i // 2, regularizers=dict(ber=dict(lambda_=f))) for i, f in enumerate(factors)
    ]
    write(tmp_path, rows)
    assert SearchRun(tmp_path, '').lambdas == [0.0, 0.5, 0.0]


def traced(call):
    """What a call gives, the memory that this has, and the most that it took, MB."""
    tracemalloc.start()
    try:
        found = call()
        return found, *(size / 1e6 for size in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()


def test_memory(tmp_path):
    config = load_config(ROOT / 'configs' / 'search' / 'rdarts_darts_c10.py')
    write_log(tmp_path, config, epochs=40, rows=40)
    rows, whole, _ = traced(lambda: read_search_log(tmp_path))
    digest, kept, most = traced(lambda: Digest(tmp_path))
    assert len(rows) == 1 + 42 * 40 and len(digest.rows) == 1 + 2 * 40
    assert kept < whole / 8 and most < whole / 2
