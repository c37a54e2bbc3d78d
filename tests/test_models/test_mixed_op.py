"""MixedOp: the mixture, its gradients, its noise, and the edge state dict."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rdarts.errors import UserError
from rdarts.models import MixedOp, Mixing
from rdarts.models.kernels import standard_normal, to_nchw
from rdarts.models.layers import PlainLayers
from rdarts.models.mixed_ops.mixed_op import from_edge_state_dict, to_edge_state_dict
from rdarts.models.operations import build_operation
from rdarts.registry import OPERATIONS
from rdarts.search_spaces import build_space

NB201 = ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')
TWO = (('skip_connect', 'sep_conv_3x3'), ('none', 'sep_conv_3x3', 'max_pool_3x3'))


class Bias(nn.Module):
    """An operation of one's own."""

    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)

    def forward(self, x):
        return self.conv(x)


@pytest.fixture
def bias():
    OPERATIONS.register_module(name='bias', module=Bias)
    yield
    OPERATIONS.module_dict.pop('bias')


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('candidates', [NB201, build_space('darts').candidates])
def test_a_lone_edge_is_the_weighted_sum(candidates, stride):
    torch.manual_seed(0)
    mixed = MixedOp(candidates, 4, stride=stride).double()
    weights = torch.rand(len(candidates), dtype=torch.float64).requires_grad_()
    x = torch.randn(3, 4, 7, 7, dtype=torch.float64)
    out = mixed(x, weights)
    assert out.shape == (3, 4, -(-7 // stride), -(-7 // stride))

    expected = 0
    terms = []
    for name, weight in zip(candidates, weights, strict=True):
        plain = build_operation(name, PlainLayers(affine=False), 4, 4, stride).double()
        state = mixed.operations[name].state_dict()
        plain.load_state_dict({k: v[0] for k, v in state.items() if 'running' not in k}, False)
        terms.append(plain(x))
        expected = expected + weight * terms[-1]
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)

    gradient = torch.randn_like(out)
    (found,) = torch.autograd.grad(out, weights, gradient)
    closed = torch.stack([(gradient * term).sum() for term in terms])  # d / d beta_k = <G, o_k(x)>
    torch.testing.assert_close(found, closed, rtol=1e-10, atol=1e-10)


def test_none_takes_part_in_the_softmax_but_not_in_the_sum():
    torch.manual_seed(0)
    mixed = MixedOp(('none', 'skip_connect'), 2).double()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    alpha = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)
    out = mixed(x, alpha.softmax(0))
    beta = alpha.detach().softmax(0)
    torch.testing.assert_close(out, beta[1] * x)
    out.sum().backward()
    # d beta_1 / d alpha_0 = -beta_0 beta_1, d beta_1 / d alpha_1 = beta_1 (1 - beta_1)
    slope = beta[1] * (1 - beta[1]) * x.sum()
    torch.testing.assert_close(alpha.grad, torch.stack([-slope, slope]))


def test_an_edge_that_has_none_only_is_zero():
    mixed = MixedOp(('none',), 2, 3, stride=2)
    x = torch.randn(2, 2, 5, 5, requires_grad=True)
    out = mixed(x, torch.ones(1))
    assert torch.equal(out, torch.zeros(2, 3, 3, 3))


@pytest.mark.parametrize('execution', ['plain', 'fused'])
@pytest.mark.parametrize('drawn', [(1.0, 0.0), (0.0, 0.0)])
def test_where_nothing_runs_the_zero_keeps_the_graph(execution, drawn):
    mixed = MixedOp(('none', 'nor_conv_1x1'), 2, 3, stride=2)
    mixed.execution = execution
    x = torch.full((2, 2, 5, 5), float('inf'), requires_grad=True)
    weights = torch.tensor(drawn, requires_grad=True)
    out = mixed(x, Mixing.of([weights], sampled=True))
    assert torch.equal(out, torch.zeros(2, 3, 3, 3))
    (out + 1).square().sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))
    assert torch.equal(weights.grad, torch.zeros(2))
    assert all(p.grad is None for p in mixed.parameters())
    # a weight alone that learns, as in alpha's step
    out = mixed(x.detach(), Mixing.of([weights], sampled=True))
    (grad,) = torch.autograd.grad(out.sum(), weights)
    assert torch.equal(grad, torch.zeros(2))


def test_a_mix_of_ones_own_is_not_asked_where_nothing_runs():
    class Own(MixedOp):
        def mix(self, x, weights, names, operations):
            return torch.stack([operation(x) for operation in operations]).sum(0)

    mixed = Own([('skip_connect', 'nor_conv_1x1'), ('skip_connect',)], 2)
    x = torch.ones(1, 2, 4, 4)
    drawn = Mixing.of([torch.zeros(2), torch.ones(1)], sampled=True)
    nothing, one = mixed.forward_edges(x, drawn)
    assert torch.equal(nothing, torch.zeros_like(x)) and torch.equal(one, x)


def test_no_weight_no_gradient_for_the_others_edge():
    torch.manual_seed(0)
    mixed = MixedOp(TWO, 2)
    x = torch.randn(2, 2, 4, 4)
    first, _ = mixed.forward_edges(x, Mixing(torch.ones(5)))
    first.square().sum().backward()
    gradient = mixed.operations['sep_conv_3x3'][1].weight.grad
    assert gradient[0].any() and not gradient[1].any()


def test_stacked_keys_and_shapes():
    mixed = MixedOp(TWO, 4, stride=2)
    shapes = {key: tuple(value.shape) for key, value in mixed.state_dict().items()}
    assert shapes == {
        'operations.skip_connect.conv_1.weight': (1, 2, 4, 1, 1),
        'operations.skip_connect.conv_2.weight': (1, 2, 4, 1, 1),
        'operations.skip_connect.bn.running_mean': (1, 4),
        'operations.skip_connect.bn.running_var': (1, 4),
        'operations.sep_conv_3x3.1.weight': (2, 4, 1, 3, 3),
        'operations.sep_conv_3x3.2.weight': (2, 4, 4, 1, 1),
        'operations.sep_conv_3x3.3.running_mean': (2, 4),
        'operations.sep_conv_3x3.3.running_var': (2, 4),
        'operations.sep_conv_3x3.5.weight': (2, 4, 1, 3, 3),
        'operations.sep_conv_3x3.6.weight': (2, 4, 4, 1, 1),
        'operations.sep_conv_3x3.7.running_mean': (2, 4),
        'operations.sep_conv_3x3.7.running_var': (2, 4),
        'operations.max_pool_3x3.1.running_mean': (1, 4),
        'operations.max_pool_3x3.1.running_var': (1, 4),
    }


def test_forward_owns_no_alpha():
    assert not any('alpha' in key or 'arch' in key for key in MixedOp(NB201, 2).state_dict())


def test_noise_is_drawn_edge_by_edge():
    mixed = MixedOp((('noise', 'skip_connect'), ('skip_connect', 'noise'), ('noise',)), 2)
    x = torch.randn(3, 2, 4, 4)
    weights = [torch.tensor([0.5, 2.0]), torch.tensor([3.0, 0.25]), torch.tensor([1.0])]
    torch.manual_seed(7)
    outs = mixed.forward_edges(x, Mixing.of(weights))
    torch.manual_seed(7)
    noises = [to_nchw(standard_normal(torch.empty(3, 4, 4, 2))) for _ in range(3)]
    torch.testing.assert_close(outs[0], 0.5 * noises[0] + 2 * x)
    torch.testing.assert_close(outs[1], 3 * x + 0.25 * noises[1])
    torch.testing.assert_close(outs[2], noises[2])


def test_many_edges_need_forward_edges():
    with pytest.raises(ValueError, match='2 edges: call forward_edges'):
        MixedOp(TWO, 2)(torch.zeros(1, 2, 4, 4), torch.ones(2))


@pytest.mark.parametrize('candidates', [(), [()], [('none',), ()]])
def test_no_candidate(candidates):
    with pytest.raises(UserError, match='at least one candidate an edge'):
        MixedOp(candidates, 2)


@pytest.mark.parametrize('twice', [('skip_connect',) * 2, ('nor_conv_1x1', 'none', 'nor_conv_1x1')])
def test_a_candidate_twice_on_an_edge_is_refused(twice):
    """Plain would run one row of its weights twice, fused two rows."""
    with pytest.raises(UserError, match=f'names a candidate twice: {", ".join(twice)}'):
        MixedOp([('skip_connect',), twice], 2)


def test_an_unknown_candidate():
    with pytest.raises(UserError, match="unknown operation 'skip': .*'skip_connect'"):
        MixedOp(('skip', 'none'), 2)


def test_edge_state_dict_goes_there_and_back(bias):
    torch.manual_seed(0)
    edges = (('sep_conv_3x3', 'bias'), ('bias', 'max_pool_3x3'), ('none', 'sep_conv_3x3'))
    mixed = MixedOp(edges, 2, labels=['0_2', '0_3', '0_4'])
    state = {key: value.clone() for key, value in to_edge_state_dict(mixed).items()}
    assert [key for key in state if 'bias.' in key] == [
        'edges.0_2.bias.conv.weight',
        'edges.0_2.bias.conv.bias',
        'edges.0_3.bias.conv.weight',
        'edges.0_3.bias.conv.bias',
    ]
    assert torch.equal(
        state['edges.0_4.sep_conv_3x3.1.weight'], mixed.operations['sep_conv_3x3'][1].weight[1]
    )
    assert torch.equal(state['edges.0_3.bias.conv.bias'], mixed.operations['bias'][1].conv.bias)
    assert sum(v.numel() for v in state.values()) == sum(
        v.numel() for v in mixed.state_dict().values()
    )

    torch.manual_seed(1)
    other = MixedOp(edges, 2, labels=['0_2', '0_3', '0_4'])
    assert not torch.equal(to_edge_state_dict(other)['edges.0_2.bias.conv.bias'], state[
        'edges.0_2.bias.conv.bias'
    ])  # fmt: skip
    from_edge_state_dict(other, state)
    for key, value in mixed.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def test_edge_state_dict_is_strict():
    mixed = MixedOp(TWO, 2)
    before = {key: value.clone() for key, value in mixed.state_dict().items()}
    state = {key: value.clone() + 1 for key, value in to_edge_state_dict(mixed).items()}
    key = 'edges.1.sep_conv_3x3.2.weight'
    with pytest.raises(UserError, match=f"it lacks '{key}'"):
        from_edge_state_dict(mixed, {k: v for k, v in state.items() if k != key})
    with pytest.raises(UserError, match="it has 'edges.2.x', which is unknown"):
        from_edge_state_dict(mixed, {**state, 'edges.2.x': state[key]})
    with pytest.raises(UserError, match=r'has shape \(2, 2, 1\), but should have \(2, 2, 1, 1\)'):
        from_edge_state_dict(mixed, {**state, key: state[key][..., 0]})
    # nothing of a state dict that does not fit is loaded
    for name, value in mixed.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_tensors_in_place_of_parameters_have_their_order():
    """What a fused candidate lists is what the layers of its operation take one after the other."""
    OPERATIONS.import_from_location()
    for name in OPERATIONS.module_dict:
        for stride in (1, 2):
            mixed = MixedOp([[name]], 8, 8 * stride, stride, affine=True)
            for part in mixed.plan_of(None).parts:
                if not part.is_extra:
                    own = list(mixed.operations[name].parameters())
                    pairs = zip(part.stacked(), own, strict=True)
                    assert all(one is other for one, other in pairs), name


@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_what_is_given_stands_for_the_parameters(execution):
    torch.manual_seed(0)
    mixed, other = (MixedOp(TWO, 8, affine=True).double() for _ in range(2))
    mixed.execution = other.execution = execution
    given = {name: list(one.parameters()) for name, one in other.operations.items()}
    x, mixing = torch.randn(2, 8, 6, 6).double(), Mixing(torch.randn(5).double())
    outs = mixed.forward_edges(x, mixing, given=given)
    for out, expected in zip(outs, other.forward_edges(x, mixing), strict=True):
        assert torch.equal(out, expected)
