"""The derived network: every cell's size as in the benchmark's table, and the usual options."""

from __future__ import annotations

import csv
import gzip
import random

import pytest
import torch
from torch import nn

from rdarts.errors import UserError
from rdarts.genotypes import CellGenotype, DenseCellGenotype
from rdarts.models import NASBench201Net, NASBench201Supernet
from rdarts.models.multiply_adds import count_macs

CELL = '|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|'
TABLE = dict(  # size of the image, classes
    cifar10=(32, 10), cifar100=(32, 100), imagenet16_120=(16, 120)
)


class Classifier(nn.Module):
    def __init__(self, genotype, num_classes):
        super().__init__()
        self.net = NASBench201Net(genotype)
        self.fc = nn.Linear(self.net.out_channels, num_classes)

    def forward(self, x):
        return self.fc(self.net(x)[-1].mean((2, 3)))


@pytest.mark.slow
@pytest.mark.data
def test_parameters_and_macs_are_the_tables(data_root):
    with gzip.open(data_root / 'nasbench201' / 'nasbench201.csv.gz', 'rt') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15_625
    chosen = random.Random(201).sample(rows, 47)
    chosen += [rows[i] for i in (1835, 9930, 13714)]  # all skip, and two cells of the paper
    for row in chosen:
        for name, (size, classes) in TABLE.items():
            model = Classifier(row['arch_str'], classes)
            parameters = sum(p.numel() for p in model.parameters())
            extra = (classes - 10) * 65  # the classifier's rows
            expected = round(float(row['params_m_cifar10']) * 1e6) + extra
            assert parameters == expected, (row['arch_str'], name)
            # the table counts the additions of the classifier's bias too
            macs = count_macs(model, torch.zeros(3, size, size)) + model.fc.bias.numel()
            assert macs == round(float(row[f'flops_m_{name}']) * 1e6), (row['arch_str'], name)


@pytest.mark.parametrize(('stem', 'size'), [('cifar', (9, 10)), ('imagenet', (33, 38))])
def test_it_computes_what_the_supernet_does_with_one_hot_weights(stem, size):
    """An independent check of the wiring: the supernet with all weight on the chosen edges."""
    torch.manual_seed(0)
    sizes = dict(channels=4, cells_per_stage=1, stem=stem)
    net = NASBench201Net(CELL, **sizes).double()
    supernet = NASBench201Supernet(**sizes, affine=True).double()
    assert supernet.conditions() == sizes
    alpha = supernet.arch_parameters['cell']
    candidates = supernet.space.candidates
    alpha.fill_(-1e4)
    for row, name in enumerate(net.genotype.operations()):
        alpha[row, candidates.index(name)] = 0
    state = supernet.to_edge_state_dict()
    own = net.state_dict()
    loaded = set()
    cells = [cell for stage in net.stages for cell in stage]
    assert len(cells) == len(supernet.cells)
    with torch.no_grad():
        for key, value in state.items():
            if key.startswith(('stem.', 'lastact.')):
                own[key].copy_(value)
                loaded.add(key)
        for stage, places in enumerate([[0], [1, 2], [3, 4]]):
            for inner, index in enumerate(places):
                for key in [k for k in own if k.startswith(f'stages.{stage}.{inner}.')]:
                    rest = key.removeprefix(f'stages.{stage}.{inner}.')
                    other = f'cells.{index}.{rest}'
                    if rest.startswith('edges.'):
                        _, edge, tail = rest.split('.', 2)
                        row = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)].index(
                            tuple(int(i) for i in edge.split('_'))
                        )
                        name = net.genotype.operations()[row]
                        other = f'cells.{index}.mixed.{edge[0]}.edges.{edge}.{name}.{tail}'
                        if other.endswith('num_batches_tracked'):
                            loaded.add(key)
                            continue
                    own[key].copy_(state[other])
                    loaded.add(key)
    assert loaded == set(own)
    x = torch.randn(3, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], supernet(x)[0], rtol=1e-10, atol=1e-10)


def test_stages_at_their_strides():
    net = NASBench201Net(CELL, in_channels=1, channels=2, cells_per_stage=1, out_indices=(0, 1, 2))
    outs = net(torch.randn(2, 1, 33, 30))
    assert [tuple(out.shape) for out in outs] == [
        (2, 2, 33, 30),
        (2, 4, 17, 15),
        (2, 8, 9, 8),
    ]
    (middle,) = NASBench201Net(CELL, channels=2, cells_per_stage=1, out_indices=[1])(
        torch.randn(2, 3, 8, 8)
    )
    assert middle.shape == (2, 4, 4, 4)


@pytest.mark.parametrize('size', [(16, 16), (33, 30), (100, 37)])
def test_the_imagenet_stem_puts_two_convolutions_of_stride_2_before(size):
    net = NASBench201Net(
        CELL, channels=8, cells_per_stage=1, stem='imagenet', out_indices=(0, 1, 2)
    )
    assert net.strides == (4, 8, 16) and net.out_widths == (8, 16, 32)
    shapes = [tuple(out.shape) for out in net(torch.randn(2, 3, *size))]
    assert shapes == [
        (2, 8 * 2**i, -(-size[0] // stride), -(-size[1] // stride))
        for i, stride in enumerate((4, 8, 16))
    ]
    assert sum(isinstance(m, nn.Conv2d) and m.stride == (2, 2) for m in net.stem) == 2
    with pytest.raises(UserError, match='images of 15 x 16 are too small for its stride 16'):
        net(torch.zeros(1, 3, 15, 16))
    with pytest.raises(UserError, match="stem must be 'cifar' or 'imagenet'"):
        NASBench201Net(CELL, stem='svhn')


def test_a_cell_without_a_path_gives_constants():
    net = NASBench201Net('|none~0|+|none~0|none~1|+|none~0|none~1|none~2|', channels=2).eval()
    first, second = net(torch.randn(2, 3, 8, 8))[0]
    assert torch.equal(first, second)


@pytest.mark.parametrize('stages', [-1, 0, 1, 3])
def test_frozen_stages(stages):
    torch.manual_seed(0)
    net = NASBench201Net(CELL, channels=2, cells_per_stage=1, frozen_stages=stages)
    net.train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    out = net(torch.randn(4, 3, 8, 8))[0]
    out.square().sum().backward()
    parts = {'stem': 0, 'stages.0': 1, 'stages.1': 2, 'stages.2': 3, 'lastact': 4}
    for part, number in parts.items():
        frozen = number <= stages
        module = net.get_submodule(part)
        assert module.training is not frozen
        assert all(p.requires_grad is not frozen for p in module.parameters())
        for key, value in net.state_dict().items():
            if key.startswith(part + '.') and 'running_mean' in key:
                assert torch.equal(value, before[key]) is frozen, key


@pytest.mark.parametrize('norm_eval', [False, True])
def test_norm_eval_keeps_the_running_statistics(norm_eval):
    net = NASBench201Net(CELL, channels=2, cells_per_stage=1, norm_eval=norm_eval).train()
    net(torch.randn(2, 3, 8, 8))
    assert net.training
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.training is not norm_eval for norm in norms)
    assert all(int(norm.num_batches_tracked) == (0 if norm_eval else 1) for norm in norms)
    assert all(p.requires_grad for p in net.parameters())


MINE = dict(
    type='CellSpace',
    name='mine',
    cells=dict(
        only=dict(
            num_nodes=4,
            candidates=['none', 'skip_connect', 'nor_conv_1x1'],
            edges=[(0, 1), (0, 2), (0, 3), (1, 3), (2, 3, ['nor_conv_3x3', 'skip_connect'])],
        )
    ),
)


def test_a_genotype_of_a_table_goes_by_its_edges_not_by_their_order():
    def mine(last):
        nodes = ((('skip_connect', 0),), (('nor_conv_1x1', 0),), last)
        return CellGenotype('mine', {'only': nodes}, {'only': (3,)})

    one = mine((('nor_conv_3x3', 2), ('skip_connect', 0)))
    net = NASBench201Net(one, space=MINE, channels=2, cells_per_stage=1)
    kept = dict(net.stages[0][0].edges.named_children())
    assert set(kept) == {'0_1', '0_2', '0_3', '2_3'}  # 1 -> 3 is not kept
    assert kept['2_3'][1].kernel_size == (3, 3) and kept['0_2'][1].kernel_size == (1, 1)
    assert not list(kept['0_3'].parameters())
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    net.eval()
    other = NASBench201Net(
        mine((('skip_connect', 0), ('nor_conv_3x3', 2))), space=MINE, channels=2, cells_per_stage=1
    ).eval()
    other.load_state_dict(net.state_dict())
    assert torch.equal(net(x)[0], other(x)[0])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (
            dict(genotype=None),
            'genotype: give a JSON file, the work directory of a search',
        ),
        (dict(genotype='|none~0|'), 'it has 1 edge, but the cell of .* has 6'),
        (dict(genotype=CELL.replace('none', 'nonne')), "operation 'nonne' .* mean 'none'"),
        (dict(genotype='no_such_file.json'), 'cannot read the genotype no_such_file.json: No such'),
        (dict(genotype=CELL, out_indices=(3,)), r'out_indices must be among 0 to 2, .*\(3,\)'),
        (dict(genotype=CELL, out_indices=()), 'out_indices must be among 0 to 2'),
        (dict(genotype=CELL, frozen_stages=4), 'frozen_stages must be from -1 to 3, but is 4'),
        (dict(genotype=CELL, channels=0), 'channels must be a positive integer'),
        (dict(genotype=CELL, space=MINE), "genotype is of the space 'nas_bench_201'|of kind"),
    ],
)
def test_errors(kwargs, message):
    with pytest.raises(UserError, match=message):
        NASBench201Net(**kwargs)


def test_a_space_of_another_form():
    pairs = [(('skip_connect', 0), ('skip_connect', 1))] * 4
    genotype = CellGenotype(
        'darts',
        {'normal': tuple(pairs), 'reduce': tuple(pairs)},
        {'normal': (2, 3, 4, 5), 'reduce': (2, 3, 4, 5)},
    )
    with pytest.raises(UserError, match="space 'darts' does not fit NASBench201Net"):
        NASBench201Net(genotype, space='darts')


def test_a_genotype_object_or_its_data_or_its_file(tmp_path):
    from rdarts.genotypes import dumps

    genotype = DenseCellGenotype.from_string(CELL, 'nas_bench_201')
    path = tmp_path / 'genotype.json'
    path.write_text(dumps(genotype))
    for source in (genotype, genotype.to_dict(), path, str(path)):
        assert NASBench201Net(source, channels=2, cells_per_stage=1).genotype == genotype
