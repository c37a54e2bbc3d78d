"""What genotypes may cost."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_sampling.searched import KINDS, SMALL, genotypes, small, space_of

from rdarts.apis import build_net
from rdarts.errors import UserError
from rdarts.genotypes import parse_genotype
from rdarts.models.multiply_adds import count_macs
from rdarts.sampling.limits import Limits
from rdarts.sampling.strategies import RandomSearch

NB201 = 'nb201_digits'


def prepared(name=NB201, options=None, **most) -> Limits:
    cfg = small(name, **(options or {}))
    limits = Limits(**most)
    limits.prepare(space_of(cfg), cfg)
    return limits


@pytest.mark.parametrize('name', KINDS)
def test_macs_and_parameters_of_derived_networks(name):
    limits = prepared(name, macs=1e12, params=1e12)
    found = genotypes(limits.space, 3)
    costs = [limits.costs(genotype) for genotype in found]
    sizes = dict(SMALL[name], **(dict(stem='cifar') if 'mobile' in name else {}))
    net = build_net(found[0], 10, space=limits.space, **sizes)
    image = next(net.parameters()).new_zeros(3, 16, 16)
    assert costs[0]['macs'] == count_macs(net, image)
    assert costs[0]['params'] == sum(one.numel() for one in net.parameters())
    middle = sorted(one['macs'] for one in costs)[1]
    narrow = prepared(name, macs=middle, params=1e12)
    assert [narrow(one) for one in found] == [cost['macs'] <= middle for cost in costs]


def test_a_strategy_within_limits():
    limits = prepared(params=5500)
    strategy = RandomSearch()
    strategy.restrict(limits)
    strategy.prepare(limits.space, np.random.default_rng(0))
    found = [strategy.ask() for _ in range(20)]
    assert all(limits.costs(genotype)['params'] <= 5500 for genotype in found)
    assert not all(limits(genotype) for genotype in genotypes(limits.space, 20))


def table(space, **changes) -> dict:
    """Each operation of edge k costs k + 1 ms, times its place among the candidates."""
    costs = {
        cell: [
            {name: (k + 1) * place for place, name in enumerate(edge.candidates)}
            for k, edge in enumerate(topology.edges)
        ]
        for cell, topology in space.cells.items()
    }
    return dict(dict(space=space.name, unit='ms', costs=costs), **changes)


def with_table(folder, **changes) -> dict:
    path = folder / 'costs.json'
    path.write_text(json.dumps(table(space_of(small(NB201)), **changes)))
    return {'model.backbone.space': dict(type='nas_bench_201', costs=str(path))}


def test_latency_is_that_of_the_cost_table(tmp_path):
    limits = prepared(options=with_table(tmp_path), latency=30)
    (genotype,) = genotypes(limits.space, 1)
    names = limits.space.candidates
    operations = genotype.operations()
    expected = sum((k + 1) * names.index(name) for k, name in enumerate(operations))
    assert limits.costs(genotype) == dict(latency=expected)
    assert limits(genotype) == (expected <= 30)


@pytest.mark.parametrize(
    ('most', 'message'),
    [
        (
            dict(macs=1e3),
            r"^no network of 'nas_bench_201' is within the limits: the least found has macs "
            r'\d{3},\d{3}, but limits\.macs is 1,000$',
        ),
        (dict(params=10, macs=1e9), r'the least found has params 4,894, but limits.params is 10$'),
        (dict(latency=5), "needs a cost table of the space 'nas_bench_201' in ms, but there is no"),
        (dict(), 'limits need one of macs, params and latency'),
        (dict(macs=0), 'Limits: macs must be a finite number above 0'),
        (dict(params='3M'), 'Limits: params must be a finite number above 0'),
    ],
)
def test_limits_that_no_network_meets_and_other_bad_input(most, message):
    with pytest.raises(UserError, match=message):
        prepared(**most)


def test_the_least_is_that_of_a_cell_without_layers():
    limits = prepared(params=4894)
    empty = parse_genotype('|none~0|+|none~0|none~1|+|none~0|none~1|none~2|', limits.space.name)
    assert limits(empty) and limits.costs(empty) == dict(params=4894)


def test_cost_tables_of_something_else(tmp_path):
    with pytest.raises(UserError, match="in ms, but it is in 'million MACs'"):
        prepared(options=with_table(tmp_path, unit='million MACs'), latency=5)
    with pytest.raises(UserError, match='measured with channels 16, but the search has 4'):
        prepared(options=with_table(tmp_path, channels=16), latency=5)
