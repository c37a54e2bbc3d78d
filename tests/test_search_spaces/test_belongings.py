"""What belongs to a space is there, and a table says it without a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdarts.configuration.composition import is_config
from rdarts.configuration.spaces import declared, is_declared
from rdarts.errors import UserError
from rdarts.genotypes import form_named
from rdarts.models.declared import declared_class
from rdarts.registry import BENCHMARKS, DISCRETIZERS, lookup
from rdarts.search_spaces import build_space
from rdarts.search_spaces.as_config import to_config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SPACES = ['darts', 'nas_bench_201', 'nasnet', 's1', 's2', 's3', 's4', 'mobilenet_like']
CELL = dict(num_nodes=3, candidates=['none', 'skip_connect'])


@pytest.mark.parametrize('name', SPACES)
def test_all_that_a_space_names_is_there(name):
    space = build_space(name)
    assert form_named(space.genotype).fits(space.cells)
    assert lookup(space.discretizer, DISCRETIZERS)
    for what in ('supernet', 'network'):
        kind = declared_class(space, what)
        assert kind.__name__ == getattr(space, what).removeprefix('rdarts.')
        assert is_declared(what, dict(type=getattr(space, what)))
    assert is_config(CONFIGS / 'search' / f'darts_{space.config_name}_c10.py')
    for config in space.retraining.values():
        assert (CONFIGS / 'retrain' / f'{config}.py').is_file()
    if space.table is not None:
        assert lookup(space.table, BENCHMARKS).datasets
    assert space.stems


def test_every_detector_is_of_a_space():
    files = {path.stem for path in (CONFIGS / 'detection').glob('*.py')}
    assert files == {config for name in SPACES for config in build_space(name).detection}


def test_names_of_configs_are_those_of_the_spaces():
    expected = {'nb201', 'darts', 's1', 's2', 's3', 's4', 'mobilenet_like'}
    assert expected <= declared('config_name')


def test_a_table_takes_what_belongs_to_the_spaces_of_its_form():
    mine = build_space(dict(type='CellSpace', name='mine', cells=dict(cell=CELL)))
    assert mine.network == 'rdarts.NASBench201Net' and mine.table is None and not mine.retraining
    two = dict(num_inputs=2, num_nodes=4, candidates=['skip_connect'], output='concat')
    mine = build_space(dict(type='CellSpace', name='mine', cells=dict(normal=two, reduce=two)))
    assert mine.network == 'rdarts.DARTSNet' and mine.retraining['CIFAR10'] == 'darts_c10'
    layers = dict(type='LayerwiseSpace', name='mine', layers=[['skip_connect']])
    assert build_space(layers).network is None
    with pytest.raises(UserError, match="the space 'mine' declares no supernet"):
        declared_class(build_space(layers), 'supernet')


def test_a_table_may_name_its_own():
    belongs = dict(network='rdarts.Mine', stems=['one'], retraining=dict(Digits='mine.py'))
    table = dict(type='CellSpace', name='mine', cells=dict(cell=CELL), belongs=belongs)
    space = build_space(table)
    assert (space.network, space.stems) == ('rdarts.Mine', ('one',))
    assert space.supernet == 'rdarts.NASBench201Supernet'
    assert is_declared('network', dict(type='rdarts.Mine', space=table))
    assert not is_declared('network', dict(type='rdarts.Mine'))
    assert build_space(to_config(space)) == space


@pytest.mark.parametrize(
    ('belongs', 'message'),
    [
        (3, 'belongs must be a dict, but is 3'),
        (dict(netwrk='x'), "unknown key 'netwrk': did you mean 'network'"),
        (dict(supernet=3), 'belongs.supernet must be a name, but is 3'),
        (dict(stems='cifar'), "belongs.stems must be a list of names, but is 'cifar'"),
        (dict(config_name=None), 'belongs.config_name must be a name, but is None'),
        (dict(retraining=dict(Digits=1)), 'belongs.retraining must map data sets to configs'),
    ],
)
def test_what_no_space_can_name(belongs, message):
    with pytest.raises(UserError) as caught:
        build_space(dict(type='CellSpace', name='x', cells=dict(cell=CELL), belongs=belongs))
    assert message in str(caught.value) and '\n' not in str(caught.value)
