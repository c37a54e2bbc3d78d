"""What every candidate of every layer costs: counts by hand, and what is measured."""

from __future__ import annotations

import json
import math

import pytest
import torch
from helpers import TOOLS

from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.measure import cost_table
from rdarts.models import MobileNetLikeSupernet
from rdarts.search_spaces import build_space

CONFIGS = TOOLS.parent / 'configs'
SMALL = """
_base_ = [{base!r}]
model = dict(
    backbone=dict(
        space=dict(_delete_=True, type='mobilenet_like', widths={widths}, depths={depths},
                   strides={strides}),
        stem_channels=4, first_channels=4, last_channels=16,
    ),
    head=dict(in_channels=16),
)
"""


@pytest.fixture
def run(tmp_path, capsys):
    """Measure a config: the data of the file, and what is printed."""

    def call(config, **settings):
        table = cost_table.cost_table(
            load_config(config), str(config), cost_table.CostSettings(**settings)
        )
        table.write(tmp_path / 'costs.json')
        table.print()
        return json.loads((tmp_path / 'costs.json').read_text()), capsys.readouterr().out

    return call


def write(folder, widths=(6, 8), depths=(2, 1), strides=(1, 2), base='rdarts_mobilenet_like_c10'):
    base = str(CONFIGS / 'search' / f'{base}.py')
    path = folder / 'small.py'
    path.write_text(SMALL.format(base=base, widths=widths, depths=depths, strides=strides))
    return path


def macs(channels, out, kernel, expansion, pixels, out_pixels):
    wide = channels * expansion
    return (
        channels * wide * pixels + wide * kernel**2 * out_pixels + wide * out * out_pixels
    ) / 1e6


def test_macs_by_hand(run, tmp_path):
    data, printed = run(write(tmp_path), what='macs')
    assert data['unit'] == 'millions of multiply-adds'
    # the stem of CIFAR's config; 32 pixels by its train pipeline; the one stride of 2 is left out
    assert (data['stem'], data['first_channels'], data['shape']) == ('cifar', 4, [3, 32, 32])
    sides = [(4, 6, 32, 32), (6, 6, 32, 32), (6, 8, 32, 32)]
    for entry, (channels, out, side, out_side) in zip(
        data['costs']['layerwise'], sides, strict=True
    ):
        for kernel in (3, 5, 7):
            for expansion in (3, 6):
                found = entry.pop(f'mbconv_k{kernel}_e{expansion}')
                expected = macs(channels, out, kernel, expansion, side**2, out_side**2)
                assert found == pytest.approx(expected, rel=1e-12)
    assert data['costs']['layerwise'] == [{}, dict(skip_connect=0), {}]
    # a column of a candidate that neither the first nor the last layer has
    rows = [line.split() for line in printed.splitlines()]
    head = next(row for row in rows if row[:1] == ['layer'])
    assert head[2:] == [f'mbconv_k{k}_e{e}' for k in (3, 5, 7) for e in (3, 6)] + ['skip_connect']
    assert [row[-1] for row in rows[rows.index(head) + 1 :][:3]] == ['-', '0.000', '-']


def test_strides_and_shapes_of_the_imagenet_stem(run, tmp_path):
    config = write(tmp_path, base='darts_mobilenet_like_imagenet')
    data, _ = run(config, what='macs')
    assert (data['stem'], data['shape']) == ('imagenet', [3, 224, 224])
    found = data['costs']['layerwise'][2]['mbconv_k5_e6']
    assert found == pytest.approx(macs(6, 8, 5, 6, 112**2, 56**2), rel=1e-12)
    data, _ = run(config, what='macs', shape=(3, 33, 20))
    assert data['shape'] == [3, 33, 20]
    found = data['costs']['layerwise'][2]['mbconv_k5_e6']
    assert found == pytest.approx(macs(6, 8, 5, 6, 17 * 10, 9 * 5), rel=1e-12)


def test_one_layer(run, tmp_path):
    data, printed = run(write(tmp_path, (8,), (1,), (1,)), what='macs')
    assert len(data['costs']['layerwise']) == 1
    assert 'skip_connect' not in printed


def test_layers_whose_last_stage_has_layers(run, tmp_path):
    _, printed = run(write(tmp_path, (6, 8), (1, 2), (1, 2)), what='macs')
    assert 'skip_connect' in printed


def test_each_candidate_runs_alone_in_the_format_of_a_network(run, tmp_path, monkeypatch):
    seen = []
    measure = cost_table.measure

    def note(module, images, args):
        contiguous = images.is_contiguous(memory_format=torch.channels_last)
        seen.append((tuple(images.shape), contiguous or images.is_cuda, module.training))
        return measure(module, images, args)

    monkeypatch.setattr(cost_table, 'measure', note)
    data, _ = run(write(tmp_path, (4, 4), (2, 2), (1, 1)), repeats=1, batch_size=2)
    assert data['unit'] == 'ms'
    assert (data['batch_size'], data['threads']) == (2, torch.get_num_threads())
    costs = data['costs']['layerwise']
    assert all(math.isfinite(v) and v >= 0 for entry in costs for v in entry.values())
    assert max(costs[0].values()) > 0
    # layers that are alike are measured once: seven candidates at one shape
    assert seen == [((2, 4, 32, 32), True, False)] * 7
    assert costs[1] == costs[2] == costs[3]


def test_a_search_takes_the_table(run, tmp_path):
    data, _ = run(write(tmp_path), what='macs')
    table = dict(type='mobilenet_like', widths=(6, 8), depths=(2, 1), strides=(1, 2))
    table['costs'] = str(tmp_path / 'costs.json')
    space = build_space(table)
    row = data['costs']['layerwise'][1]
    assert space.costs['layerwise'][1] == tuple(row[name] for name in space.candidates)
    sizes = dict(stem_channels=4, first_channels=4, last_channels=16)
    net = MobileNetLikeSupernet(space, stem='cifar', **sizes)
    net(torch.zeros(2, 3, 32, 32))
    # what it was measured for is what it is of
    with pytest.raises(UserError, match="costs.json: it was measured with stem 'cifar', but"):
        MobileNetLikeSupernet(space, **sizes)
    with pytest.raises(UserError, match='with first_channels 4, but the search has 8'):
        MobileNetLikeSupernet(space, stem='cifar', **dict(sizes, first_channels=8))
    with pytest.raises(UserError, match=r'with shape \[3, 32, 32\], but .* has \[3, 16, 16\]'):
        net(torch.zeros(2, 3, 16, 16))
    net.eval()(torch.zeros(2, 3, 16, 16))


def test_a_pipeline_that_names_no_size(run, tmp_path):
    config = write(tmp_path)
    pipeline = (
        "train_dataloader = dict(dataset=dict(dataset=dict(pipeline=[dict(type='PackInputs')])))"
    )
    config.write_text(config.read_text() + pipeline)
    with pytest.raises(UserError, match='gives no size of an image: give --shape C H W'):
        run(config)
