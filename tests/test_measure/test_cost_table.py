"""What every candidate of every edge costs: counts by hand, and what is measured."""

from __future__ import annotations

import json
import math

import pytest
import torch
from helpers import TOOLS

from rdarts.apis import build_net
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.genotypes import DenseCellGenotype, load_genotype
from rdarts.measure import cost_table
from rdarts.models import DARTSSupernet, MobileNetLikeSupernet, NASBench201Supernet
from rdarts.models.backbones import candidate_costs
from rdarts.models.multiply_adds import count_macs
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

SMALL_CELLS = """
_base_ = [{base!r}]
model = dict(backbone=dict({sizes!r}))
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
    head = next(row for row in rows if row[:1] == ['cell'])
    assert head[3:] == [f'mbconv_k{k}_e{e}' for k in (3, 5, 7) for e in (3, 6)] + ['skip_connect']
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
    build = candidate_costs.build_candidate

    def note(module, args):
        contiguous = args[0].is_contiguous(memory_format=torch.channels_last)
        seen.append((tuple(args[0].shape), contiguous or args[0].is_cuda, module.training))

    def build_noted(*args):
        module = build(*args)
        module.register_forward_pre_hook(note)
        return module

    monkeypatch.setattr(candidate_costs, 'build_candidate', build_noted)
    monkeypatch.setattr(cost_table, 'WARMUP', 0)
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


# Cells

CELLS = {
    'nas_bench_201': (
        'rdarts_nb201_c10',
        dict(channels=4, cells_per_stage=2),
        [
            '|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|',
            '|skip_connect~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_1x1~2|',
        ],
    ),
    'darts': ('rdarts_darts_c10', dict(channels=4, num_cells=5), ['DARTS_V1', 'DARTS_V2']),
}


def cost_of(genotype, data, space):
    """What the chosen candidates of all edges cost together."""
    if isinstance(genotype, DenseCellGenotype):
        table = data['costs']['cell']
        return sum(edge[name] for edge, name in zip(table, genotype.operations(), strict=True))
    total = 0.0
    for cell, nodes in genotype.nodes.items():
        edges = {(edge.source, edge.target): i for i, edge in enumerate(space.cells[cell].edges)}
        for target, chosen in enumerate(nodes, 2):
            total += sum(data['costs'][cell][edges[source, target]][op] for op, source in chosen)
    return total


@pytest.mark.parametrize('space', CELLS)
def test_cells_of_a_type_are_added_up(run, tmp_path, space):
    """The difference of two derived networks is that of what their candidates cost."""
    config, sizes, names = CELLS[space]
    text = SMALL_CELLS.format(base=str(CONFIGS / 'search' / f'{config}.py'), sizes=sizes)
    (tmp_path / 'cells.py').write_text(text)
    data, printed = run(tmp_path / 'cells.py', what='macs', shape=(3, 18, 10))
    own = build_space(space)
    assert (data['space'], data['shape']) == (space, [3, 18, 10])
    assert {key: data[key] for key in sizes} == sizes
    assert len(printed.splitlines()) == 1 + own.num_edges
    genotypes = [load_genotype(name) for name in names]
    nets = [build_net(genotype, space=space, **sizes) for genotype in genotypes]
    counted = [count_macs(net, torch.zeros(3, 18, 10)) / 1e6 for net in nets]
    costs = [cost_of(genotype, data, own) for genotype in genotypes]
    assert counted[0] - counted[1] == pytest.approx(costs[0] - costs[1], rel=1e-9)
    assert abs(costs[0] - costs[1]) > 0.01


def test_a_search_of_cells_takes_a_table(tmp_path):
    space = build_space('nas_bench_201')
    rows = [{name: float(k) for k, name in enumerate(space.candidates)}] * 6
    table = dict(space='nas_bench_201', unit='ms', costs=dict(cell=rows), channels=4)
    mine = build_space(dict(type='nas_bench_201', costs=dict(table, shape=[3, 8, 8])))
    assert mine.costs['cell'] == ((0.0, 1.0, 2.0, 3.0, 4.0),) * 6
    net = NASBench201Supernet(mine, channels=4, cells_per_stage=1)
    net(torch.zeros(2, 3, 8, 8))
    with pytest.raises(UserError, match=r'with shape \[3, 8, 8\], but the search has \[3, 16, 16'):
        net(torch.zeros(2, 3, 16, 16))
    with pytest.raises(UserError, match='it was measured with channels 4, but the search has 8'):
        NASBench201Supernet(mine, channels=8, cells_per_stage=1)
    with pytest.raises(UserError, match="of the space 'nas_bench_201', but 'darts' is needed"):
        build_space(dict(type='darts', costs=table))
    for name in ('darts', 's1', 's2', 's3', 's4'):
        own = build_space(name)
        costs = {
            cell: [dict.fromkeys(edge.candidates, 1.5) for edge in topology.edges]
            for cell, topology in own.cells.items()
        }
        table = dict(space=name, unit='ms', costs=costs, num_cells=3)
        found = build_space(dict(type=name, costs=table))
        assert found.costs['normal'][13] == (1.5,) * len(own.cells['normal'].edges[13].candidates)
        with pytest.raises(UserError, match='measured with num_cells 3, but the search has 5'):
            DARTSSupernet(found, channels=2, num_cells=5)


def test_finding_edges_changes_nothing():
    torch.manual_seed(0)
    net = DARTSSupernet('s4', channels=2, num_cells=3)
    net.cells[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes, state = [module.training for module in net.modules()], torch.get_rng_state()
    sites = candidate_costs.find_sites(net, (3, 9, 8))
    assert len(sites) == 3 * 14
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_pre_hooks for module in net.modules())
    # the second cell reduces 9 x 8 to 5 x 4, by the edges that leave its inputs
    reads = {(site.edge, site.reads[1:], site.stride) for site in sites[14:28]}
    assert {(0, (9, 8), 2), (2, (9, 8), 2), (4, (5, 4), 1), (13, (5, 4), 1)} <= reads


class InOneOfItsOwn(NASBench201Supernet):
    def forward(self, x):
        return (self.stem(x),)


def test_a_network_that_runs_edges_otherwise():
    net = InOneOfItsOwn(channels=2, cells_per_stage=1)
    with pytest.raises(UserError, match='^InOneOfItsOwn runs its edges in a way of its own.*cost'):
        candidate_costs.find_sites(net, (3, 8, 8))
