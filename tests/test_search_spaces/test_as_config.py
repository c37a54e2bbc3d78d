"""Spaces as configs hold them: nothing is lost on the way there and back."""

from __future__ import annotations

import dataclasses
import json

import pytest
from test_search_spaces.spaces import SIZES, SPACES

from rdarts.errors import UserError
from rdarts.search_spaces import build_space
from rdarts.search_spaces.as_config import to_config
from rdarts.search_spaces.costs import CostTable


def with_costs(**conditions):
    plain = build_space(dict(type='mobilenet_like', **SIZES))
    costs = [
        {name: 0.5 * k + i for k, name in enumerate(edge.candidates)}
        for i, edge in enumerate(plain.cells['layerwise'].edges)
    ]
    table = dict(space=plain.name, unit='ms', costs=dict(layerwise=costs), **conditions)
    return build_space(dict(type='mobilenet_like', **SIZES, costs=table))


@pytest.mark.parametrize('space', SPACES, ids=str)
def test_round_trip(space):
    space = build_space(space)
    written = to_config(space)
    # as a config is dumped and read
    found = build_space(json.loads(json.dumps(written)))
    for field in dataclasses.fields(space):
        assert getattr(found, field.name) == getattr(space, field.name), field.name
    assert found.groups == space.groups and found.candidates == space.candidates


def test_costs_keep_what_they_were_measured_for():
    space = with_costs(stem='imagenet', first_channels=16, shape=[3, 224, 224])
    found = build_space(json.loads(json.dumps(to_config(space))))
    assert isinstance(found.costs, CostTable)
    assert found.costs == space.costs
    assert found.costs.unit == 'ms'
    assert found.costs.conditions == dict(stem='imagenet', first_channels=16, shape=[3, 224, 224])
    with pytest.raises(UserError, match='measured with shape'):
        found.costs.check(shape=[3, 32, 32])
    rows = [dict.fromkeys(edge.candidates, 2.0) for edge in build_space('s1').cells['normal'].edges]
    reduce = [dict.fromkeys(e.candidates, 1.0) for e in build_space('s1').cells['reduce'].edges]
    table = dict(space='s1', unit='ms', costs=dict(normal=rows, reduce=reduce), num_cells=8)
    written = to_config(build_space(dict(type='s1', costs=table)))
    assert written == dict(type='s1', costs=table)


def test_the_name_alone_stands_for_the_registered_space_only():
    assert to_config(build_space('s1')) == 's1'
    assert isinstance(to_config(with_costs()), dict)


@pytest.mark.parametrize(
    ('change', 'lost'),
    [
        (dict(repeated_edges=True, genotype='cell'), 'repeated_edges'),
        (dict(genotype='dense_cell', name='mine'), 'genotype'),
        (dict(costs={'cell': ((1.0,) * 5,) * 6}, name='mine', genotype='cell'), 'costs'),
    ],
)
def test_what_no_table_can_say_is_refused(change, lost):
    space = dataclasses.replace(build_space('nas_bench_201'), **change)
    with pytest.raises(UserError, match=f'cannot be written into a config: its {lost}'):
        to_config(space)
