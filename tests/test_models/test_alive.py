"""Candidates that were pruned or are hidden: a masked net is one of the sub-space."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from test_models.fused_nets import with_alpha

from rdarts.architect.architects.first_order import FirstOrder
from rdarts.architect.regularizers import BatchEntropyDecay
from rdarts.errors import UserError
from rdarts.hooks.alpha_statistics import alpha_statistics
from rdarts.models import DARTSSupernet, NASBench201Supernet
from rdarts.registry import DISCRETIZERS, build
from rdarts.search_spaces import build_space

OPS = ['none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3']
# of each edge what stays; edges of one list share a group in the sub-space
KEPT = [OPS[1:4], OPS, OPS[1:4], [OPS[3]], OPS[:2], OPS[1:4]]
EDGES = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
SOFT = dict(type='rdarts.GumbelSoftmax', temperature=2.0, hard=False)
RELAXED = [*(f'rdarts.{name}' for name in with_alpha()), SOFT]
LEARNT = [one for one in RELAXED if one != 'rdarts.EqualWeights']  # whose alpha has a gradient
# what PathGates draws is of a candidate's place in the whole list
OF_PARTS = [one for one in RELAXED if one != 'rdarts.PathGates']
OF_PARTS.append(dict(type='rdarts.PathGates', draw=False))


def nets(relaxation, execution='plain', mixed_op='rdarts.MixedOp'):
    """A net that was pruned, and one built in the sub-space, with the same weights and alphas."""
    torch.manual_seed(0)
    kwargs = dict(channels=8, cells_per_stage=1, execution=execution, alpha_std=1.0)
    kwargs['mixed_op'] = mixed_op
    net = NASBench201Supernet(relaxation=copy.deepcopy(relaxation), **kwargs).double()
    for edge, names in enumerate(KEPT):
        net.prune('cell', edge, [name for name in OPS if name not in names])
    cell = dict(
        num_nodes=4, edges=[(*edge, names) for edge, names in zip(EDGES, KEPT, strict=True)]
    )
    space = dict(
        type='CellSpace',
        name='nas_bench_201_part',
        cells=dict(cell=cell),
        discretizer='Argmax',
    )
    args = build_space('nas_bench_201').operation_args
    kept = {name for names in KEPT for name in names}
    space['operation_args'] = {name: args[name] for name in args if name in kept}
    space = build_space(dict(space, cells=dict(cell=dict(cell, output='last'))))
    twin = NASBench201Supernet(space, relaxation=copy.deepcopy(relaxation), **kwargs).double()
    own, parameters = net.view()[0], twin.arch_parameters
    for name, alpha in own.items():
        parameters[name].data.copy_(alpha)
    state = net.to_edge_state_dict()
    part = {key: state[key] for key in twin.to_edge_state_dict() if 'arch_parameters' not in key}
    part.update({k: v for k, v in twin.to_edge_state_dict().items() if 'arch_parameters' in k})
    twin.from_edge_state_dict(part)
    return net, twin


@pytest.mark.parametrize('execution', ['plain', 'fused'])
@pytest.mark.parametrize(
    ('relaxation', 'mixed_op'),
    [(one, 'rdarts.MixedOp') for one in OF_PARTS]
    + [(one, 'rdarts.EntangledMixedOp') for one in ('rdarts.Softmax', 'rdarts.GumbelSoftmax')],
    ids=str,
)
def test_a_masked_net_is_one_of_the_sub_space(relaxation, mixed_op, execution):
    net, twin = nets(relaxation, execution, mixed_op)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2)).double()
    found = []
    for one in (net, twin):
        torch.manual_seed(5)
        alphas = [alpha.requires_grad_() for alpha in one.arch_parameters.values()]
        with one.alpha_phase():
            (out,) = one(x)
        grads = torch.autograd.grad(out.square().sum(), alphas, allow_unused=True)
        named = dict(zip(one.arch_parameters, grads, strict=True))
        found.append((out, named))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-10, atol=1e-12)
    view = net.ways.view({n: g for n, g in found[0][1].items() if g is not None})
    for name, grad in found[1][1].items():
        if grad is not None:
            torch.testing.assert_close(view[name], grad, rtol=1e-9, atol=1e-12)
    if net.relaxation.no_gradient:
        return
    # nothing reaches what was pruned
    dead = ~torch.tensor(net.alive['cell'])
    assert not found[0][1]['cell'][dead].any()


@pytest.mark.parametrize('relaxation', RELAXED, ids=str)
def test_terms_and_genotypes_see_what_is_alive(relaxation):
    net, twin = nets(relaxation)
    ber = BatchEntropyDecay()
    assert torch.equal(ber(*net.view()), ber(*twin.view()))
    rule = build('Argmax', DISCRETIZERS)
    rule.relaxation = net.relaxation
    found = rule(*net.view())
    rule.relaxation = twin.relaxation
    assert found.operations_by_cell() == rule(*twin.view()).operations_by_cell()
    assert found.space == 'nas_bench_201'
    weights = net.expected_weights()['cell']
    assert weights.shape == (6, 5)
    assert not weights[~torch.tensor(net.alive['cell'])].any()


@pytest.mark.parametrize('relaxation', LEARNT, ids=str)
def test_ber_of_a_step_is_that_of_the_alive_candidates_whatever_the_relaxation(relaxation):
    """Eq. 17 and 20 by hand, of softmax(alpha) over what an edge has left."""
    net, _ = nets(relaxation)
    weights = [p for p in net.parameters() if p.requires_grad]
    architect = FirstOrder()
    architect.regularizers = dict(ber=BatchEntropyDecay(0.5))
    wrapper = OptimWrapper(torch.optim.SGD(weights, lr=0.1))
    architect.prepare(net, wrapper, None, torch.optim.Adam)
    penalty = architect.penalty_gradients()['ber']
    expected = torch.zeros(6, 5).double()
    total = 0.0
    for edge, names in enumerate(KEPT):
        places = [OPS.index(name) for name in names]
        beta = net.arch_parameters['cell'].detach()[edge, places].softmax(0)
        entropy = -(beta * beta.log()).sum()
        total += float(entropy) / 6
        expected[edge, places] = -beta * (beta.log() + entropy) / 6
    assert float(penalty.value) == pytest.approx(total, rel=1e-12)
    for name, grad in zip(architect.names, penalty.grads, strict=True):
        right = expected if name == 'cell' else torch.zeros_like(grad)
        torch.testing.assert_close(grad, right, rtol=1e-10, atol=1e-15)


def test_masks_are_in_the_state_dict_where_there_are_some():
    net, _ = nets('rdarts.Softmax')
    fresh = NASBench201Supernet(channels=8, cells_per_stage=1).double()
    assert not any('alive' in key for key in fresh.state_dict())
    fresh.load_state_dict(net.state_dict())
    assert fresh.alive == net.alive
    twin = copy.deepcopy(fresh)
    fresh.load_state_dict({k: v for k, v in net.state_dict().items() if 'alive' not in k})
    assert all(flag for edge in fresh.alive['cell'] for flag in edge)
    assert twin.alive == net.alive
    broken = {**net.state_dict(), 'alive.cell': torch.ones(7, dtype=torch.bool)}
    with pytest.raises(UserError, match="'alive', are of another space than 'nas_bench_201'"):
        fresh.load_state_dict(broken)


@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_what_is_hidden_is_gone_and_nothing_is_renormalised(execution):
    torch.manual_seed(0)
    net = NASBench201Supernet(channels=8, cells_per_stage=1, execution=execution).double()
    before = net.mixing()['cell'][0]
    with net.hide('cell', 1, ['skip_connect']), net.hide('cell', 0, ['none']):
        inside = net.mixing()['cell'][0]
        assert inside.active == [[1, 2, 3, 4], [0, 2, 3, 4], [0, 1, 2, 3, 4]]
        gone = torch.zeros(15, dtype=torch.bool)
        gone[[0, 6]] = True
        assert not inside.weights[gone].any()
        assert torch.equal(inside.weights[~gone], before.weights[~gone])
        net(torch.randn(2, 3, 8, 8).double())
    assert net.mixing()['cell'][0].active is None
    with pytest.raises(UserError, match=r"edge 1 of the cell 'cell' has no candidate 'max_pool"):
        net.prune('cell', 1, ['max_pool_3x3'])
    with pytest.raises(
        UserError, match=r"cell 'cell', edge 0 -> 1 needs a candidate that is alive"
    ):
        net.prune('cell', 0, OPS)
    assert all(flag for edge in net.alive['cell'] for flag in edge)


@pytest.mark.parametrize('mixed_op', ['rdarts.MixedOp', 'rdarts.PartialChannels'])
@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_a_dropped_edge_gives_nothing_and_is_in_no_genotype(execution, mixed_op):
    torch.manual_seed(0)
    space = dict(type='darts', leave_out=['none'])
    net = DARTSSupernet(
        space, channels=8, num_cells=3, alpha_std=1.0, execution=execution, mixed_op=mixed_op
    ).double()
    x = torch.randn(2, 3, 8, 8).double()
    candidates = net.space.cells['normal'].edges[3].candidates
    with net.hide('normal', 3, candidates):
        expected = [out.detach() for out in net(x)]
    net.drop_edge('normal', 3)
    alpha = net.arch_parameters['normal'].requires_grad_()
    found = net(x)
    torch.testing.assert_close([out.detach() for out in found], expected, rtol=1e-10, atol=1e-12)
    (grad,) = torch.autograd.grad(sum(out.square().sum() for out in found), alpha)
    assert not grad[3].any() and grad[2].any()

    others = [row for row in range(14) if row != 3]
    alphas, view = net.view()
    assert torch.equal(alphas['normal'], alpha[others])
    weights = net.expected_weights()['normal']
    assert not weights[3].any()
    torch.testing.assert_close(weights[others].sum(-1), torch.ones(13).double())
    betas = torch.cat([alpha.detach()[others], net.arch_parameters['reduce']]).softmax(-1)
    entropy = float(-(betas * betas.log()).sum(-1).mean())
    assert float(BatchEntropyDecay()(alphas, view).detach()) == pytest.approx(entropy, rel=1e-12)
    statistics = alpha_statistics(net.arch_parameters, net.space, net.relaxation, net.ways)
    assert statistics['mean_entropy'] == pytest.approx(entropy, rel=1e-12)

    # of its node, two others; with a rule that keeps every edge, all others
    for rule, kept in (('TopEdges', 2), ('Argmax', 2), ('Threshold', 2)):
        genotype = build(rule, DISCRETIZERS)(alphas, view)
        edges = genotype.nodes['normal'][1]  # the edges 2, 3 and 4
        assert 1 not in [source for _, source in edges] and len(edges) <= kept
    again = DARTSSupernet(space, channels=8, num_cells=3, mixed_op=mixed_op).double()
    again.load_state_dict(net.state_dict())
    assert again.alive == net.alive and not any(again.alive['normal'][3])
    net.drop_edge('normal', 2)
    with pytest.raises(UserError, match="cell 'normal', node 3 needs an edge that is alive"):
        net.drop_edge('normal', 4)
    assert all(net.alive['normal'][4])


def test_of_a_cell_that_lists_every_edge_a_dropped_one_is_none():
    net = NASBench201Supernet(channels=8, cells_per_stage=1)
    net.drop_edge('cell', 1)
    assert build('Argmax', DISCRETIZERS)(*net.view()).ops[1] == 'none'
