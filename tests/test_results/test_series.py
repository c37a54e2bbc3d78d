"""What pictures and the report show over epochs."""

from __future__ import annotations

import pytest
import torch
from synthetic import write_search
from test_visualization.logs import change_epoch, change_log

from rdarts.benchmarks import NASBench201
from rdarts.datasets import CIFAR10, CIFAR100, ImageNet16120
from rdarts.results import series
from rdarts.results.log import read_search_log
from rdarts.results.search_run import find_runs
from rdarts.results.series import DATASET_NAMES, dataset_names


def test_data_sets_of_the_table_are_called_as_their_classes_say():
    classes = (CIFAR10, CIFAR100, ImageNet16120)
    assert DATASET_NAMES == {cls.default_folder: cls.title for cls in classes}
    assert list(DATASET_NAMES) == list(NASBench201.datasets)
    assert dataset_names(None) == DATASET_NAMES


def test_numbers_of_a_method(tmp_path):
    gdas = find_runs([write_search(tmp_path / 'gdas', 'gdas_darts_c10', epochs=3)])
    found = {name: read(gdas[0]) for name, read in series.numbers(gdas).items()}
    assert list(found) == ['temperature', 'λ of ber']
    assert found['temperature'] == pytest.approx({e: 10 - 9.9 * (e - 1) / 49 for e in (1, 2, 3)})
    assert found['λ of ber'] == dict.fromkeys((1, 2, 3), 0.75)
    assert list(series.numbers(find_runs([write_search(tmp_path / 'darts')]))) == ['λ of ber']


def test_what_an_architect_says_of_its_steps(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=2)

    def say(row):
        if row['kind'] == 'iter':
            row['architect'] = dict(trace=row['iter'], nu=None)
        if row['kind'] == 'epoch':
            row['architect'] = dict(epsilon=0.5, lambda_=2)

    change_log(folder, say)
    runs = find_runs([folder])
    found = {name: read(runs[0]) for name, read in series.steps(runs).items()}
    assert found == {'trace, mean of an epoch': {1: 1.5, 2: 3.5}, 'nu, mean of an epoch': {}}
    assert series.numbers(runs)['epsilon of the architect'](runs[0]) == {1: 0.5, 2: 0.5}
    assert series.numbers(runs)['λ of the architect'](runs[0]) == {1: 2, 2: 2}


def test_numbers_of_a_log_from_elsewhere(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=3)
    change_epoch(folder, 1, relaxation=dict(tau=1, x=None), mixed_op=dict(beta=0.5))
    change_epoch(folder, 2, relaxation=[5], mixed_op=dict(beta='x'))
    change_epoch(folder, 3, relaxation=dict(tau=float('nan')), regularizers=5)
    runs = find_runs([folder])
    found = {name: read(runs[0]) for name, read in series.numbers(runs).items()}
    assert found == {
        'tau': {1: 1.0},
        'x': {},
        'beta of the mixed operation': {1: 0.5},
        'λ of ber': dict.fromkeys((1, 2, 3), 0.75),  # the third from its iterations
    }


def test_a_factor_while_alpha_rests_and_of_an_earlier_version(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=2)

    def rest(row):
        if row['epoch'] == 1 and row['kind'] == 'iter':
            row.pop('regularizers')
        if row['epoch'] == 2 and row['kind'] == 'epoch':
            row.pop('regularizers')

    change_log(folder, rest)
    runs = find_runs([folder])
    assert series.numbers(runs)['λ of ber'](runs[0]) == {1: 0.75, 2: 0.75}


def test_weights_of_edges(tmp_path):
    run = find_runs([write_search(tmp_path / 'run', 'pc_darts_darts_c10', epochs=2)])[0]
    row = read_search_log(run.folder, 'epoch')[-1]
    weights = series.edge_weights(run.epochs[-1], 'reduce')
    topology = run.space.cells['reduce']
    for node in range(2, 6):
        into = topology.edges_into(node)
        own = torch.tensor([row['alpha']['reduce_edges'][edge][0] for edge in into])
        found = torch.tensor([weights[edge] for edge in into])
        torch.testing.assert_close(found, own.softmax(0), rtol=1e-6, atol=1e-7)
    other = find_runs([write_search(tmp_path / 'other', epochs=1)])[0]
    assert series.edge_weights(other.epochs[0], 'cell') is None


def test_dropped_candidates_do_not_make_weights_uneven(tmp_path):
    folder = write_search(tmp_path / 'run', epochs=2)
    masks = [[True, True, False, False, False]] * 6
    change_epoch(folder, 2, alive=dict(cell=masks), weights=dict(cell=[[0.5, 0.5, 0, 0, 0]] * 6))
    run = find_runs([folder])[0]
    one, two = run.epochs
    assert series.alive(run, one, 'cell') == [[True] * 5] * 6
    assert series.alive(run, two, 'cell') == masks
    assert series.near_uniform(run, one) is None
    assert series.unevenness(run, two) == 0 and series.near_uniform(run, two)
    masks[3] = [False, False, True, False, False]  # decided
    change_epoch(folder, 2, alive=dict(cell=masks))
    run = find_runs([folder])[0]
    assert series.near_uniform(run, run.epochs[1]) is None
