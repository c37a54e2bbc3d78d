"""By how much the largest weight of an edge leads the second."""

from __future__ import annotations

import pytest
from synthetic import write_search
from synthetic_queries import write_queries
from test_visualization.logs import change_epoch, change_log, keep

from rdarts.results.log import read_search_log
from rdarts.results.margins import machine_of, smallest_margin
from rdarts.results.search_run import find_runs


def margin(folder, **options):
    return smallest_margin(find_runs([folder])[0], **options)


def test_the_least_lead_of_any_edge(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=3)
    weights = {'cell': [[0.1, 0.2, 0.4, 0.25, 0.05] for _ in range(6)]}
    weights['cell'][4] = [0.32, 0.3, 0.18, 0.1, 0.1]
    change_epoch(folder, 3, weights=weights)
    assert margin(folder) == pytest.approx(0.02)
    # the first candidate is none
    assert margin(folder, without_none=True) == pytest.approx(0.12)
    alive = {'cell': [[True] * 5 for _ in range(6)]}
    alive['cell'][4] = [True, False, True, True, True]
    change_epoch(folder, 3, alive=alive)
    assert margin(folder) == pytest.approx(0.14)
    alive['cell'][:] = [[False, False, True, False, False]] * 6
    change_epoch(folder, 3, alive=alive)
    assert margin(folder) is None


def test_it_is_that_of_the_epoch_whose_cell_was_kept(tmp_path):
    folder = write_search(tmp_path / 'run', seed=1, epochs=4)
    keep(folder, 2)
    change_epoch(folder, 4, stopped=dict(by='collapse', kept_epoch=2))
    (row,) = [row for row in read_search_log(folder, 'epoch') if row['epoch'] == 2]
    pairs = [sorted(weights)[-2:] for weights in row['weights']['cell']]
    assert margin(folder) == min(first - second for second, first in pairs)


def test_none_has_no_say_where_no_genotype_may_hold_it(tmp_path):
    folder = write_search(tmp_path / 'run', 'darts_darts_c10', epochs=1)
    (row,) = read_search_log(folder, 'epoch')
    (run,) = find_runs([folder])
    expected = []
    for group in run.space.groups:
        for weights in row['weights'][group.name]:
            own = [w for o, w in zip(group.candidates, weights, strict=True) if o != 'none']
            second, first = sorted(own)[-2:]
            expected.append(first - second)
    assert margin(folder) == min(expected)


def test_what_asks_has_none_and_the_machine_may_be_missing(tmp_path):
    folder = write_queries(tmp_path / 'asks')
    assert margin(folder) is None
    (run,) = find_runs([write_search(tmp_path / 'run', epochs=1)])
    assert machine_of(run) is None

    def on(machine):
        def change(row):
            if row['kind'] == 'start':
                row['machine'] = machine

        change_log(run.folder, change)
        return machine_of(find_runs([run.folder])[0])

    assert on(dict(cpu='AMD EPYC', instructions='AVX512')) == 'AMD EPYC, AVX512'
    assert on(dict(cpu='AMD EPYC', instructions=5, gpu='H200')) == 'AMD EPYC, H200'
    assert on(['x']) is None
