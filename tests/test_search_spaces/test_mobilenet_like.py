"""The MobileNet-like space, and cost tables."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle

import pytest
import torch

from rdarts.architect.discretizers import Argmax
from rdarts.errors import UserError
from rdarts.genotypes import LayerwiseGenotype, dumps, load_genotype, parse_genotype
from rdarts.models import MobileNetLikeSupernet
from rdarts.search_spaces import build_space
from rdarts.search_spaces.costs import read_costs

SMALL = dict(type='mobilenet_like', widths=(8, 16), depths=(2, 3), strides=(2, 2))
SKIPS_AT = {1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19}


def costs_of(space):
    """Of edge i every candidate costs i + 1."""
    edges = space.cells['layerwise'].edges
    layers = [dict.fromkeys(edge.candidates, float(i)) for i, edge in enumerate(edges, 1)]
    return dict(space=space.name, unit='ms', costs=dict(layerwise=layers))


def test_it_is_the_layers_of_proxylessnas():
    space = build_space('mobilenet_like')
    edges = space.cells['layerwise'].edges
    assert len(edges) == 21 and space.num_edges == 21
    for index, edge in enumerate(edges):
        assert (edge.source, edge.target) == (index, index + 1)
        assert edge.candidates[:6] == (
            'mbconv_k3_e3', 'mbconv_k3_e6', 'mbconv_k5_e3', 'mbconv_k5_e6', 'mbconv_k7_e3',
            'mbconv_k7_e6',
        )  # fmt: skip
        assert edge.candidates[6:] == (('skip_connect',) if index in SKIPS_AT else ())
    shapes = {group.name: (len(group.edges), len(group.candidates)) for group in space.groups}
    assert shapes == dict(layerwise_0=(6, 6), layerwise_1=(15, 7))
    stages = [(stage.width, stage.depth, stage.stride) for stage in space.stages]
    assert stages == [
        (24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1)
    ]  # fmt: skip


def test_spaces_of_other_sizes_have_other_names():
    names = {build_space(SMALL).name, build_space('mobilenet_like').name}
    for key, value in dict(widths=(8, 24), depths=(3, 2), strides=(2, 1)).items():
        names.add(build_space(dict(SMALL, **{key: value})).name)
    assert len(names) == 5


def test_what_keeps_its_shape_may_be_skipped():
    sizes = dict(widths=(8, 8, 8, 16), depths=(2, 2, 1, 1), strides=(1, 1, 2, 1))
    space = build_space(dict(type='mobilenet_like', **sizes))
    skips = ['skip_connect' in edge.candidates for edge in space.cells['layerwise'].edges]
    # what the first stage reads is not known; the third has a stride, the fourth another width
    assert skips == [False, True, True, True, False, False]
    net = MobileNetLikeSupernet(space, stem_channels=4, first_channels=4, last_channels=8)
    assert net(torch.zeros(2, 3, 8, 8))[0].shape == (2, 8, 2, 2)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(depths=(2,)), 'each stage needs one of each, but there are 2 widths, 1 depths'),
        (dict(strides=(2, 3)), 'strides must be 1 or 2, but are (2, 3)'),
        (dict(widths=(8, 0)), 'widths must be positive integers, not (8, 0)'),
        (dict(depths=(2, 2.5)), 'depths must be positive integers'),
        (dict(depths=3), 'depths must be positive integers, not 3'),
        (dict(widths=()), 'widths must be positive integers'),
    ],
)
def test_sizes_that_do_not_fit(change, message):
    with pytest.raises(UserError) as error:
        build_space(dict(SMALL, **change))
    assert message in str(error.value)


def test_the_genotype_is_the_strongest_of_each_layer_and_goes_through_text():
    space = build_space(SMALL)
    generator = torch.Generator().manual_seed(0)
    alphas = {
        g.name: torch.randn(len(g.edges), len(g.candidates), generator=generator)
        for g in space.groups
    }
    alphas['layerwise_1'][1] = torch.tensor([0, 0, 0, 0, 0, 0, 1.0])
    genotype = Argmax()(alphas, space)
    slots = space.slots('layerwise')
    for edge, (group, row), name in zip(
        space.cells['layerwise'].edges, slots, genotype.layers, strict=True
    ):
        assert name == edge.candidates[int(alphas[group][row].argmax())]
    assert genotype.layers.count('skip_connect') >= 1
    assert parse_genotype(genotype.to_string(), space.name) == genotype
    assert load_genotype(dumps(genotype), space) == genotype
    assert load_genotype(genotype.to_string(), SMALL) == genotype


@pytest.mark.parametrize(
    ('layers', 'message'),
    [
        (['mbconv_k3_e3'] * 4, 'it has 4 layers, but space'),
        (['skip_connect'] + ['mbconv_k3_e3'] * 4, "'skip_connect' is no candidate of edge 0 -> 1"),
        (['mbconv_k9_e3'] * 5, "operation 'mbconv_k9_e3' is no candidate of edge 0 -> 1: did you"),
    ],
)
def test_layers_that_do_not_fit(layers, message):
    space = build_space(SMALL)
    with pytest.raises(UserError) as error:
        load_genotype(LayerwiseGenotype(space.name, tuple(layers)), space)
    assert message in str(error.value)


def test_layers_of_another_width_are_refused():
    other = build_space(dict(SMALL, widths=(8, 24)))
    genotype = LayerwiseGenotype(other.name, ('mbconv_k3_e3',) * 5)
    with pytest.raises(UserError, match='the genotype is of the space .*w8_24.* is needed'):
        load_genotype(genotype, SMALL)
    with pytest.raises(UserError, match='unknown search space .*; a space of your own must be'):
        load_genotype(genotype)


# Costs


def test_a_cost_table_of_a_file_or_of_data(tmp_path):
    space = build_space(SMALL)
    data = costs_of(space)
    data['costs']['layerwise'][1] = {op: i for i, op in enumerate(reversed(space.candidates))}
    path = tmp_path / 'costs.json'
    path.write_text(json.dumps(data))
    found = build_space(dict(SMALL, costs=str(path)))
    assert found.name == space.name
    assert found.costs == read_costs(data, space)
    assert found.costs['layerwise'][0] == (1.0,) * 6
    # in the order of the candidates, whatever that of the file
    assert found.costs['layerwise'][1] == (6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0)
    assert found.costs['layerwise'][4] == (5.0,) * 7


def test_cost_tables_that_do_not_fit(tmp_path):
    space = build_space(SMALL)
    bad = tmp_path / 'bad.json'

    def refused(change):
        data = costs_of(space)
        change(data)
        bad.write_text(json.dumps(data))
        with pytest.raises(UserError) as error:
            read_costs(str(bad), space)
        assert '\n' not in str(error.value) and 'bad.json' in str(error.value)
        return str(error.value)

    entry = 'layerwise, edge 1 -> 2: '
    assert entry + "no cost of 'skip_connect'" in refused(
        lambda d: d['costs']['layerwise'][1].pop('skip_connect')
    )
    for value in (-0.1, math.nan, math.inf, '3', True, None):
        message = refused(lambda d, v=value: d['costs']['layerwise'][1].update(mbconv_k3_e3=v))
        assert f"{entry}the cost of 'mbconv_k3_e3' must be 0 or more, but is {value!r}" in message
    huge = int('9' * 400)
    message = refused(lambda d: d['costs']['layerwise'][1].update(mbconv_k3_e3=huge))
    assert f"{entry}the cost of 'mbconv_k3_e3' must be 0 or more, but is 999" in message
    assert len(message) < 300
    assert "'layerwise' needs 5 entries, one an edge" in refused(
        lambda d: d['costs']['layerwise'].pop()
    )
    assert "it is of the space 'x', but" in refused(lambda d: d.update(space='x'))
    assert "an object with 'space', 'unit' and 'costs'" in refused(lambda d: d.pop('costs'))
    assert 'must map operations to costs' in refused(
        lambda d: d['costs'].update(layerwise=[[1]] * 5)
    )
    bad.write_text('{')
    with pytest.raises(UserError, match='bad.json: no JSON'):
        read_costs(str(bad), space)
    bad.write_text('[' * 100_000 + ']' * 100_000)
    with pytest.raises(UserError, match='bad.json: no JSON') as error:
        read_costs(str(bad), space)
    assert '\n' not in str(error.value)
    os.mkfifo(tmp_path / 'pipe.json')
    with pytest.raises(UserError, match='cannot read the cost table .*pipe.json: not a regular'):
        read_costs(str(tmp_path / 'pipe.json'), space)
    with pytest.raises(UserError, match='cannot read the cost table .*gone.json: No such file'):
        build_space(dict(SMALL, costs=str(tmp_path / 'gone.json')))


def test_what_a_table_was_measured_for(tmp_path):
    space = build_space(SMALL)
    data = costs_of(space)
    plain = read_costs(data, space)
    plain.check(stem='cifar', first_channels=16, shape=[3, 8, 8])  # a table that says nothing
    table = read_costs(dict(data, stem='imagenet', first_channels=16, shape=(3, 8, 8)), space)
    assert table == plain
    table.check(stem='imagenet', first_channels=16, shape=[3, 8, 8])
    table.check(stem='imagenet')
    for key, value in dict(stem='cifar', first_channels=8, shape=[3, 8, 9]).items():
        with pytest.raises(
            UserError, match=f"cost table: it was measured with {key} .*'{key}' out"
        ):
            table.check(**{key: value})
    for twin in (copy.deepcopy(table), pickle.loads(pickle.dumps(table))):
        assert (twin, twin.conditions, twin.where) == (table, table.conditions, table.where)
