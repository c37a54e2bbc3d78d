"""The derived network of the DARTS space: published sizes, wiring, outputs, usual options."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from rdarts.apis import build_net
from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, load_genotype
from rdarts.models import DARTSNet, DARTSSupernet
from rdarts.models.backbones import darts_net, derived_net
from rdarts.models.multiply_adds import count_macs

# Parameters without and with the auxiliary head, and MACs: CIFAR (36 channels, 20 cells), then
# ImageNet (48 channels, 14 cells), counted on the original networks
GOLDEN = {
    'DARTS_V1': [(3_169_414, 3_645_840, 500_987_520), (4_510_432, 5_771_208, 505_864_704)],
    'DARTS_V2': [(3_349_342, 3_825_768, 528_359_040), (4_718_752, 5_979_528, 529_911_552)],
    'AmoebaNet': [(3_145_078, 3_603_072, 488_931_552), (4_627_360, 5_863_560, 526_746_624)],
    'NASNet': [(3_830_950, 4_288_944, 603_452_448), (5_564_320, 6_800_520, 604_031_616)],
    'PC_DARTS_cifar': [(3_634_678, 4_111_104, 556_670_592), (5_270_560, 6_531_336, 571_137_408)],
}
SMALL = dict(channels=4, num_cells=3)


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.slow
@pytest.mark.parametrize('stem', ['cifar', 'imagenet'])
@pytest.mark.parametrize('name', GOLDEN)
def test_published_networks_to_the_last_digit(name, stem):
    size, classes = {'cifar': (32, 10), 'imagenet': (224, 1000)}[stem]
    bare, auxiliary, macs = GOLDEN[name][stem == 'imagenet']
    net = build_net(name, classes, stem=stem)
    assert count(net) == bare
    assert count(build_net(name, classes, stem=stem, auxiliary=True)) == auxiliary
    assert count_macs(net, torch.zeros(3, size, size)) == macs


def one_hot_supernet(genotype: CellGenotype, num_cells: int) -> DARTSSupernet:
    """The supernet whose alpha chooses the genotype's operations; other edges are cut after."""
    supernet = DARTSSupernet('s3', channels=4, num_cells=num_cells, affine=True).double()
    for cell, nodes in genotype.nodes.items():
        topology = supernet.space.cells[cell]
        kept = {(source, node): op for node, edges in enumerate(nodes, 2) for op, source in edges}
        for (group, row), edge in zip(supernet.space.slots(cell), topology.edges, strict=True):
            wanted = kept.get((edge.source, edge.target), 'none')
            alpha = supernet.arch_parameters[group]
            alpha[row] = -1e4
            alpha[row, edge.candidates.index(wanted)] = 0
    return supernet


def test_it_computes_what_the_supernet_does_with_one_hot_weights():
    """An independent check of the wiring: S3 can leave every other edge out by ``none``."""
    text = (
        "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 2), "
        "('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 3), ('skip_connect', 4), "
        "('sep_conv_3x3', 1)], normal_concat=range(2, 6), reduce=[('skip_connect', 0), "
        "('sep_conv_3x3', 1), ('skip_connect', 1), ('skip_connect', 2), ('sep_conv_3x3', 0), "
        "('sep_conv_3x3', 3), ('skip_connect', 0), ('sep_conv_3x3', 4)], "
        'reduce_concat=range(2, 6))'
    )
    torch.manual_seed(0)
    genotype = load_genotype(text, 's3')
    net = DARTSNet(genotype, channels=4, num_cells=6).double()
    supernet = one_hot_supernet(genotype, 6)
    own, loaded = net.state_dict(), set()
    state = supernet.to_edge_state_dict()
    with torch.no_grad():
        for key, value in own.items():
            if key.endswith('num_batches_tracked'):
                continue
            other = key
            if '.preprocess' in key:
                _, index, part, rest = key.split('.', 3)
                other = f'{part}.{index}.{rest}'
            elif '.nodes.' in key:
                _, index, _, node, place, rest = key.split('.', 5)
                kind = supernet.cell_types[int(index)]
                operation, source = genotype.nodes[kind][int(node)][int(place)]
                edge = f'{source}_{int(node) + 2}'
                other = f'cells.{index}.mixed.{source}.edges.{edge}.{operation}.{rest}'
            value.copy_(state[other])
            loaded.add(other)
    used = {key for key in state if key.startswith(('stem', 'preprocess'))}
    assert {key for key in used if not key.endswith('num_batches_tracked')} <= loaded
    x = torch.randn(3, 3, 10, 9, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], supernet(x)[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('size', [(64, 64), (65, 97), (224, 160), (33, 32)])
def test_outputs_of_the_imagenet_stem(size):
    net = DARTSNet('DARTS_V2', stem='imagenet', channels=4, num_cells=5, out_indices=(0, 1, 2, 3))
    assert net.strides == (4, 8, 16, 32) and net.out_widths == (4, 16, 32, 64)
    outs = net(torch.randn(2, 3, *size))
    expected = [
        (2, width, -(-size[0] // stride), -(-size[1] // stride))
        for stride, width in zip((4, 8, 16, 32), (4, 16, 32, 64), strict=True)
    ]
    assert [tuple(out.shape) for out in outs] == expected


def test_outputs_of_the_cifar_stem_and_those_that_are_chosen():
    net = DARTSNet('DARTS_V2', out_indices=(0, 1, 2), channels=4, num_cells=6)
    outs = net(torch.randn(2, 3, 15, 16))
    assert [tuple(o.shape) for o in outs] == [(2, 16, 15, 16), (2, 32, 8, 8), (2, 64, 4, 4)]
    (last,) = DARTSNet('DARTS_V2', **SMALL)(torch.randn(2, 3, 8, 8))
    assert last.shape == (2, 64, 2, 2)
    (middle,) = DARTSNet('DARTS_V2', **SMALL, out_indices=[1])(torch.randn(2, 3, 8, 8))
    assert middle.shape == (2, 32, 4, 4)


def test_an_output_is_that_of_the_last_cell_before_a_reduction():
    torch.manual_seed(0)
    net = DARTSNet('DARTS_V2', stem='imagenet', channels=4, num_cells=6, out_indices=(0, 1, 2, 3))
    kept = {}
    modules = dict(net.named_modules())
    for name in ('stem0', 'cells.1', 'cells.3', 'cells.5'):  # 2 and 4 reduce
        modules[name].register_forward_hook(lambda m, i, out, name=name: kept.update({name: out}))
    outs = net(torch.randn(2, 3, 64, 64))
    assert all(a is b for a, b in zip(outs, kept.values(), strict=True))


@pytest.mark.parametrize('num_cells', [1, 2])
def test_few_cells_have_as_many_outputs_as_resolutions(num_cells):
    net = DARTSNet('DARTS_V2', stem='imagenet', channels=4, num_cells=num_cells)
    strides = {1: (4, 8, 16), 2: (4, 8, 16, 32)}[num_cells]
    assert net.strides == strides
    (out,) = net(torch.randn(2, 3, 64, 64))
    assert out.shape[2] == 64 // strides[-1]


def test_factorised_reductions_pad_their_shifted_branch_only_where_it_is_needed():
    """Bit-identical to the published form on even sizes; an odd side is padded by zeros."""
    torch.manual_seed(0)
    reduce = darts_net.FactorizedReduce(darts_net.PlainLayers(), 16, 16).eval()
    x = torch.randn(2, 16, 8, 8).relu()
    published = torch.cat([reduce.conv_1(x), reduce.conv_2(x[:, :, 1:, 1:])], 1)
    assert torch.equal(reduce(x), reduce.bn(published))
    odd = reduce(x[:, :, :7, :7])
    padded = nn.functional.pad(x[:, :, :7, :7], (0, 1, 0, 1))
    torch.testing.assert_close(odd, reduce(padded), rtol=0, atol=1e-6)


# Auxiliary features and drop-path


def test_auxiliary_features_come_first_in_training_alone():
    net = DARTSNet('DARTS_V2', channels=4, num_cells=6, auxiliary=True)
    assert net.auxiliary_cell == 4 and net.auxiliary_channels == 64
    assert [tuple(o.shape) for o in net(torch.randn(2, 3, 8, 8))] == [(2, 64, 2, 2)] * 2
    assert len(net.eval()(torch.randn(2, 3, 8, 8))) == 1


def test_the_auxiliary_head_changes_no_other_weight_and_is_no_part_of_evaluation():
    torch.manual_seed(0)
    with_head = build_net('DARTS_V2', channels=4, num_cells=6, auxiliary=True)
    without = build_net('DARTS_V2', channels=4, num_cells=6)
    state = with_head.state_dict()
    extra = {key for key in state if key.startswith('head.auxiliary.')}
    assert extra and set(state) - extra == set(without.state_dict())
    without.load_state_dict({k: v for k, v in state.items() if k not in extra}, strict=True)
    x = torch.randn(2, 3, 32, 32)
    scores, auxiliary = with_head(x)
    assert scores.shape == auxiliary.shape == (2, 10)
    without.load_state_dict({k: v for k, v in with_head.state_dict().items() if k not in extra})
    assert torch.equal(with_head.eval()(x), without.eval()(x))


def test_drop_path_drops_samples_of_operations_that_are_no_identity(monkeypatch):
    calls = []
    monkeypatch.setattr(darts_net, 'drop_path', lambda x, p: calls.append(p) or x)
    net = DARTSNet('DARTS_V2', **SMALL, drop_path=0.3)
    x = torch.randn(2, 3, 8, 8)
    net(x)
    genotype = net.genotype
    normal = sum(op != 'skip_connect' for edges in genotype.nodes['normal'] for op, _ in edges)
    # of 3 cells two reduce, where a skip connection from an input is a factorised reduction
    reduce = sum(
        op != 'skip_connect' or source < 2
        for edges in genotype.nodes['reduce']
        for op, source in edges
    )
    assert calls == [0.3] * (normal + 2 * reduce)
    calls.clear()
    net.eval()(x)
    net.train().drop_path = 0.0
    net(x)
    assert calls == []


def test_drop_path_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(20_000, 2, 1, 1)
    out = derived_net.drop_path(x, 0.25)
    kept = out[:, 0, 0, 0] > 0
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.allclose(out[kept], torch.tensor(4 / 3))
    assert abs(kept.double().mean() - 0.75) < 5 * (0.25 * 0.75 / 20_000) ** 0.5


# Options


@pytest.mark.parametrize('stages', [-1, 0, 1, 2, 3])
def test_frozen_stages(stages):
    torch.manual_seed(0)
    net = DARTSNet('DARTS_V2', channels=4, num_cells=6, frozen_stages=stages).train()
    before = copy.deepcopy(net.state_dict())
    out = net(torch.randn(4, 3, 8, 8))[0]
    assert out.requires_grad is (stages < 3)
    if stages < 3:
        out.square().sum().backward()
    parts = {'stem': 0, **{f'cells.{i}': 1 + (i > 1) + (i > 3) for i in range(6)}}
    for part, number in parts.items():
        frozen = number <= stages
        module = net.get_submodule(part)
        assert module.training is not frozen
        assert all(p.requires_grad is not frozen for p in module.parameters())
        for key, value in net.state_dict().items():
            if key.startswith(part + '.') and 'running_mean' in key:
                assert torch.equal(value, before[key]) is frozen, key


@pytest.mark.parametrize('norm_eval', [False, True])
def test_norm_eval(norm_eval):
    net = DARTSNet('DARTS_V2', **SMALL, norm_eval=norm_eval).train()
    net(torch.randn(2, 3, 8, 8))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(int(norm.num_batches_tracked) == (not norm_eval) for norm in norms)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(stem='cifa'), "stem must be 'cifar' or 'imagenet', but is 'cifa'"),
        (dict(out_indices=(3,)), 'out_indices must be among 0 to 2, but are (3,)'),
        (dict(out_indices=(1, 0)), 'out_indices must rise, but are (1, 0)'),
        (dict(frozen_stages=4), 'frozen_stages must be from -1 to 3, but is 4'),
        (dict(drop_path=1.0), 'drop_path must be from 0 to below 1, but is 1.0'),
        (dict(num_cells=0), 'num_cells must be a positive integer, but is 0'),
        (dict(genotype='DARTS_V9'), "is named 'DARTS_V9': did you mean 'DARTS_V"),
        (
            dict(genotype='|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'),
            "but this is of the space 'nas_bench_201'",
        ),
        (dict(space='s1'), "the genotype is of the space 'darts', but 's1' is needed"),
    ],
)
def test_what_does_not_fit(options, message):
    with pytest.raises(UserError) as caught:
        DARTSNet(**{'genotype': 'DARTS_V2', **SMALL, **options})
    assert message in str(caught.value)


def test_images_that_are_too_small():
    net = DARTSNet('DARTS_V2', stem='imagenet', **SMALL)
    with pytest.raises(UserError, match='images of 32 x 31 are too small for its stride 32: give'):
        net(torch.zeros(2, 3, 32, 31))
    auxiliary = build_net('DARTS_V2', **SMALL, auxiliary=True)
    with pytest.raises(UserError, match='needs features of 2 x 2 pixels or more, but got 1 x 1'):
        auxiliary(torch.zeros(2, 3, 4, 4))


def test_a_space_of_ones_own_and_its_operation_args():
    cell = dict(num_inputs=2, num_nodes=4, candidates=['skip_connect', 'nor_conv_3x3'])
    space = dict(
        type='CellSpace',
        name='mine',
        cells={kind: dict(cell, output='concat') for kind in ('normal', 'reduce')},
    )
    nodes = [[['nor_conv_3x3', 0], ['skip_connect', 1]], [['nor_conv_3x3', 2]]]
    table = dict(nodes=nodes, concat=[2, 3])
    data = dict(space='mine', kind='cell', cells=dict(normal=table, reduce=table))
    net = DARTSNet(data, space, channels=4, num_cells=3)
    assert net(torch.randn(2, 3, 8, 8))[0].shape == (2, 32, 2, 2)


# Weights from a checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(1)
    net = build_net('DARTS_V2', **SMALL, auxiliary=True)
    path = tmp_path / 'retrained.pth'
    torch.save(dict(meta={}, state_dict=net.state_dict()), path)
    return path, net


def pretrained(path, **kwargs):
    init = dict(type='Pretrained', checkpoint=str(path))
    net = DARTSNet('DARTS_V2', **{**SMALL, **kwargs}, init_cfg=init)
    net.init_weights()
    return net


def test_a_backbone_starts_from_the_weights_of_a_retraining(checkpoint):
    path, source = checkpoint
    net = pretrained(path)
    state = net.state_dict()
    assert set(state) == set(source.backbone.state_dict())
    assert all(torch.equal(state[k], v) for k, v in source.backbone.state_dict().items())


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(channels=8), "its 'stem.0.weight' is [12, 3, 3, 3], but [24, 3, 3, 3] is needed"),
        (dict(num_cells=4), 'does not fit this network: it'),
    ],
)
def test_weights_of_another_network_are_refused(checkpoint, kwargs, message):
    with pytest.raises(UserError) as caught:
        pretrained(checkpoint[0], **kwargs)
    assert message in str(caught.value) and 'config and genotype' in str(caught.value)


class Evil:
    def __reduce__(self):
        import os

        return os.system, ('echo run > evil',)


def test_a_checkpoint_that_tries_to_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict=Evil()), 'evil.pth')
    with pytest.raises(UserError, match='refused: it would run code'):
        pretrained('evil.pth')
    assert not (tmp_path / 'evil').exists()


def test_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match='checkpoint not found'):
        pretrained(tmp_path / 'missing.pth')
    torch.save(dict(state_dict={'head.fc.weight': torch.zeros(1)}), tmp_path / 'head.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'head.pth'), prefix='backbone')
    with pytest.raises(UserError, match="no weights of a 'backbone' are in it"):
        DARTSNet('DARTS_V2', **SMALL, init_cfg=init).init_weights()


def test_a_node_without_an_edge_is_zero():
    """And a cell whose output no edge leads to is refused."""
    data = load_genotype('DARTS_V2').to_dict()
    data['cells']['normal']['nodes'][1] = []
    three = [['max_pool_3x3', 0], ['sep_conv_3x3', 0], ['skip_connect', 4]]
    data['cells']['reduce']['nodes'][3] = three
    net = DARTSNet(data, channels=4, num_cells=3).eval()
    cell = net.cells[0]
    out = cell(*(torch.randn(2, 12, 9, 9) for _ in range(2)), 0.0)
    assert out.shape == (2, 16, 9, 9)
    assert not out[:, 4:8].any() and out[:, :4].any()
    assert net(torch.randn(2, 3, 9, 9))[0].shape == (2, 64, 3, 3)
    data['cells']['reduce']['nodes'] = [[], [], [], []]
    with pytest.raises(UserError, match="cell 'reduce' has no edge that leads to a node"):
        DARTSNet(data, channels=4, num_cells=3)
