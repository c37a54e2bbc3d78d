"""Tables of one's own in both supernets, and layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rdarts.architect.regularizers import BatchEntropyDecay
from rdarts.errors import UserError
from rdarts.models import BaseSupernet, DARTSSupernet, NASBench201Supernet
from rdarts.registry import DISCRETIZERS, OPERATIONS, build


class Swish(nn.Module):
    """An operation of one's own with an argument and a state."""

    def __init__(self, in_channels, out_channels, stride, beta=1.0):
        super().__init__()
        self.beta = beta
        self.conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride)

    def forward(self, x):
        return self.conv(x * torch.sigmoid(self.beta * x))


@pytest.fixture
def swish():
    OPERATIONS.register_module(name='swish', module=Swish)
    yield
    OPERATIONS.module_dict.pop('swish')


@pytest.fixture
def one_cell(swish):
    return dict(
        type='CellSpace',
        name='mine',
        cells=dict(
            only=dict(
                num_nodes=5,
                candidates=['none', 'skip_connect', 'swish'],
                edges=[
                    (0, 1),
                    (0, 2, ['swish', 'dil_conv_5x5']),
                    (1, 3),
                    (2, 3, ['avg_pool_3x3', 'noise', 'sep_conv_3x3', 'nor_conv_1x1']),
                    (0, 4, ['max_pool_3x3']),
                    (3, 4),
                ],
            )
        ),
        operation_args=dict(swish=dict(beta=2.0), avg_pool_3x3=dict(norm=False)),
    )


def test_other_nodes_edges_and_candidates(one_cell):
    torch.manual_seed(0)
    net = NASBench201Supernet(one_cell, channels=2, cells_per_stage=2)
    assert {name: tuple(a.shape) for name, a in net.arch_parameters.items()} == {
        'only_0': (3, 3),
        'only_1': (1, 2),
        'only_2': (1, 4),
        'only_3': (1, 1),
    }
    swishes = [m for m in net.modules() if isinstance(m, Swish)]
    assert len(swishes) == 4 * 6 and {s.beta for s in swishes} == {2.0}
    assert 'max_pool_3x3' in net.cells[0].mixed['0'].operations
    assert not list(net.cells[0].mixed['2'].operations['avg_pool_3x3'].state_dict())
    for alpha in net.arch_parameters.values():
        alpha.requires_grad_()
    out = net(torch.randn(2, 3, 9, 9))[0]
    assert out.shape == (2, 8, 3, 3)
    (out * torch.randn_like(out)).sum().backward()
    for name, alpha in net.arch_parameters.items():
        # an edge with one candidate has weight 1, whatever alpha
        assert bool(alpha.grad.any()) is (alpha.shape[1] > 1), name

    state = net.to_edge_state_dict()
    assert 'cells.0.mixed.0.edges.0_2.swish.conv.weight' in state
    assert 'cells.0.mixed.3.edges.3_4.swish.conv.weight' in state
    other = NASBench201Supernet(one_cell, channels=2, cells_per_stage=2)
    other.from_edge_state_dict({key: value.clone() for key, value in state.items()})
    net.eval()
    other.eval()
    x = torch.randn(1, 3, 8, 8)
    torch.manual_seed(1)
    expected = net(x)[0]
    torch.manual_seed(1)
    assert torch.equal(other(x)[0], expected)


def test_the_found_cell_belongs_to_the_space(one_cell):
    net = NASBench201Supernet(one_cell, channels=2, cells_per_stage=1)
    rule = build(net.space.discretizer, DISCRETIZERS)
    genotype = rule(net.arch_parameters, net.space)
    assert genotype.validate(net.space) is genotype
    assert genotype.space == 'mine' and len(genotype.operations()) == 6


def test_a_table_of_two_cell_types(swish):
    space = dict(
        type='CellSpace',
        name='small',
        cells={
            'normal': dict(
                num_inputs=2, num_nodes=4, output='concat', candidates=['skip_connect', 'swish']
            ),
            'reduce': dict(
                num_inputs=2,
                num_nodes=5,
                output='concat',
                candidates=['none', 'max_pool_3x3', 'sep_conv_3x3'],
                edges=[(0, 2), (1, 2), (1, 3), (2, 4, ['skip_connect', 'swish'])],
            ),
        },
    )
    torch.manual_seed(0)
    net = DARTSSupernet(space, channels=2, num_cells=4)
    assert net.cell_types == ['normal', 'reduce', 'reduce', 'normal']
    assert net.out_channels == 2 * 8
    assert net.space.num_edges == 9
    for alpha in net.arch_parameters.values():
        alpha.requires_grad_()
    out = net(torch.randn(2, 3, 16, 16))[0]
    assert out.shape == (2, 16, 4, 4)
    (out * torch.randn_like(out)).sum().backward()
    assert all(alpha.grad.any() for alpha in net.arch_parameters.values())
    entropy = BatchEntropyDecay(lambda_=1.0)(net.arch_parameters, net.space)
    uniform = (3 * torch.tensor(3.0).log() + 6 * torch.tensor(2.0).log()) / 9
    assert entropy.item() == pytest.approx(uniform.item(), rel=1e-4)


def test_an_unknown_candidate_is_named():
    space = dict(
        type='CellSpace', name='x', cells=dict(a=dict(num_nodes=2, candidates=['nor_conv3x3']))
    )
    with pytest.raises(UserError, match="unknown operation 'nor_conv3x3': .*'nor_conv_3x3'"):
        NASBench201Supernet(space)


def test_an_argument_that_an_operation_does_not_take():
    space = dict(
        type='CellSpace',
        name='x',
        cells=dict(a=dict(num_nodes=2, candidates=['skip_connect'])),
        operation_args=dict(skip_connect=dict(norm=False)),
    )
    with pytest.raises(UserError, match=r'skip_connect\(\) got an unexpected keyword argument'):
        NASBench201Supernet(space)


@pytest.mark.parametrize('supernet', [DARTSSupernet, NASBench201Supernet])
def test_a_table_of_another_form(supernet):
    space = dict(
        type='CellSpace',
        name='odd',
        cells=dict(normal=dict(num_nodes=2, num_inputs=1, output='concat', candidates=['none'])),
    )
    with pytest.raises(UserError, match=f"space 'odd' does not fit {supernet.__name__}"):
        supernet(space)


class Layers(BaseSupernet):
    """Layers in a row, the mutable alone."""

    def __init__(self, **kwargs):
        layers = [['skip_connect', 'nor_conv_3x3'], ['nor_conv_1x1', 'none', 'sep_conv_3x3']]
        space = dict(type='LayerwiseSpace', name='row', layers=[*layers, layers[0]])
        super().__init__(space, **kwargs)
        edges = self.space.cells['layerwise'].edges
        self.layers = nn.ModuleList(
            self.build_mixed_op(edge.candidates, width, 4, stride=stride)
            for edge, width, stride in zip(edges, (3, 4, 4), (1, 2, 1), strict=True)
        )

    def forward(self, x):
        for layer, own in zip(self.layers, self.mixing()['layerwise'].values(), strict=True):
            x = layer(x, own)
        return (x,)


def test_layers_in_a_network_of_ones_own():
    torch.manual_seed(0)
    net = Layers().double()
    assert {k: tuple(a.shape) for k, a in net.arch_parameters.items()} == {
        'layerwise_0': (2, 2),
        'layerwise_1': (1, 3),
    }
    assert set(net.layers[0].state_dict()) >= {'operations.nor_conv_3x3.1.weight'}
    net.arch_parameters['layerwise_0'].copy_(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
    net.arch_parameters['layerwise_1'].copy_(torch.tensor([[0.0, 5.0, 1.0]]))
    rows = [own.weights for own in net.mixing()['layerwise'].values()]
    torch.testing.assert_close(rows[0], torch.tensor([0.0, 1.0]).double().softmax(0))
    torch.testing.assert_close(rows[1], torch.tensor([0.0, 5.0, 1.0]).double().softmax(0))
    torch.testing.assert_close(rows[2], torch.tensor([2.0, 0.0]).double().softmax(0))
    assert net(torch.randn(2, 3, 7, 7, dtype=torch.float64))[0].shape == (2, 4, 4, 4)
    genotype = build('Argmax', DISCRETIZERS)(net.arch_parameters, net.space)
    assert genotype.layers == ('nor_conv_3x3', 'none', 'skip_connect')
    rule = build(dict(type='Argmax', allow_none=False), DISCRETIZERS)
    assert rule(net.arch_parameters, net.space).layers[1] == 'sep_conv_3x3'
