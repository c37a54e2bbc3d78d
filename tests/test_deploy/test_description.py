"""Descriptions that would take time or memory without bound are refused in one line."""

from __future__ import annotations

import json

import pytest

from rdarts.deploy.description import FORMAT, Description, planned_network
from rdarts.errors import UserError

CELL = '|none~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|'
GENOTYPE = dict(space='nas_bench_201', kind='dense_cell', cell=CELL)
NETWORK = dict(type='NASBench201Net', genotype=GENOTYPE, channels=4, cells_per_stage=1)
STEPS = [dict(type='resize', size=[32, 32], interpolation='area', library='opencv')]
INPUT = dict(steps=STEPS, size=[32, 32], channel_order='RGB', mean=[0.0] * 3, std=[1.0] * 3)


def build(classes=('a', 'b'), preprocessing=INPUT, **network):
    data = dict(format=FORMAT, classes=list(classes), preprocessing=preprocessing)
    data['network'] = {**NETWORK, **network}
    return Description.from_json(json.dumps(data)).build({})


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(cells_per_stage=10**9), "'cells_per_stage': 1,000,000,000, of 333 at most"),
        (dict(cells_per_stage=10**30), 'more than 10.15, of 333 at most'),
        (dict(channels=10**6), "'channels': 1,000,000, of 100,000 at most"),
        (dict(in_channels=10**18), "'in_channels': more than"),
        (dict(type='DARTSNet', num_cells=10**6), "'num_cells': 1,000,000, of 1,000 at most"),
        (
            dict(space=dict(type='CellSpace', cells=dict(a=dict(num_nodes=10**4)))),
            'the nodes of a cell: 10,000, of 100 at most',
        ),
        (
            dict(space=dict(type='mobilenet_like', depths=[900, 900])),
            'the layers of its space: 1,800, of 1,000 at most',
        ),
        (
            dict(genotype=dict(space='x', kind='layerwise', layers=['skip_connect'] * 30_000)),
            'the operations of all cells: 90,000, of 20,000 at most',
        ),
        (dict(out_indices=[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]), 'in one another'),
        (dict(classes=['a'] * 1_000_001), '1,000,001 classes, of 1,000,000 at most'),
        (
            dict(
                preprocessing=dict(INPUT, size=[5000] * 2, steps=[dict(STEPS[0], size=[5000] * 2)])
            ),
            'images of 5000 x 5000, of 4,096 a side at most',
        ),
        (dict(classes=['x' * 2**24]), 'longer than 16,777,216 bytes'),
    ],
)
def test_what_is_too_large(changes, message):
    with pytest.raises(UserError, match=message) as error:
        build(**changes)
    assert '\n' not in str(error.value)


def test_what_fits_is_planned_without_memory():
    with pytest.raises(UserError, match='its weights are not of its NASBench201Net'):
        build()
    net = planned_network(dict(NETWORK, init_cfg=None, norm_eval=False, channels=1000), 10)
    assert {parameter.device.type for parameter in net.parameters()} == {'meta'}
    assert net.head.fc.weight.shape == (10, 4000)
