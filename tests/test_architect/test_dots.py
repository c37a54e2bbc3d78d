"""DOTS: two groups of operations, then pairs of edges, as its config builds them."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import torch
from golden import assert_close, double, golden

from rdarts.architect.discretizers import BestPairs
from rdarts.architect.regularizers import BatchEntropyDecay
from rdarts.architect.relaxations import EdgePairs, GroupedSoftmax, Softmax
from rdarts.architect.transitions import Beginning, Ended
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config, phases_of
from rdarts.configuration.phases import Phase
from rdarts.errors import UserError
from rdarts.hooks.alpha_statistics import alpha_statistics
from rdarts.models import AlphaOwner, DARTSSupernet
from rdarts.registry import DISCRETIZERS, HOOKS, RELAXATIONS, TRANSITIONS, build
from rdarts.search_spaces import build_space

DARTS = build_space('darts')
NAMES = DARTS.candidates
EDGES = DARTS.cells['normal'].edges
TWO = ('skip_connect', 'sep_conv_3x3')


@functools.cache
def phases(data: str = 'c10') -> list[Phase]:
    return phases_of(load_config(configs_folder() / 'search' / f'dots_darts_{data}.py'))


def owner(phase: int, space='darts', **relaxation) -> AlphaOwner:
    """Alpha of a phase, in float64."""
    backbone = phases()[phase].cfg.model.backbone
    return AlphaOwner(space, {**backbone.relaxation, **relaxation}, backbone.alpha_std).double()


def of_operations(space='darts') -> AlphaOwner:
    return owner(1, space)


def of_pairs(temperature=1.0, space='darts') -> AlphaOwner:
    return owner(3, space, temperature=temperature)


def hand_over(new: AlphaOwner, last: AlphaOwner) -> None:
    (start,) = phases()[2].start
    build(start, TRANSITIONS)(Beginning({}, new), Ended({}, last))


def of_the_case(temperature=1.0) -> AlphaOwner:
    """Pairs and balances of the golden case, handed over by a phase that prefers its survivors."""
    given, _, _ = golden('dots', 'genotype_topology')
    assert tuple(given['primitives']) == NAMES
    last, new = of_operations(), of_pairs(temperature)
    for cell in DARTS.cells:
        for edge, places in enumerate(given['survivors']):
            last.arch_parameters[cell].data[edge, places] = 0.5
    hand_over(new, last)
    for cell in DARTS.cells:
        for edge, places in enumerate(given['survivors']):
            new.arch_parameters[cell].data[edge, places] = double(given['balance'][edge])
        new.arch_parameters[f'{cell}_pairs'].data[:, 0] = double(given['betas'])
    return new


def test_a_softmax_for_each_kind_of_operation():
    given, expected, tolerance = golden('dots', 'grouped_softmax')
    assert tuple(given['primitives']) == NAMES
    alpha = torch.zeros(14, 8).double()
    alpha[:2] = torch.cat([double(given['alphas_non_params']), double(given['alphas_params'])], -1)
    alphas = dict(normal=alpha.requires_grad_(), reduce=torch.zeros(14, 8).double())
    weights = of_operations().relaxation(alphas, DARTS, 'weights')['normal']
    assert_close(weights[:2].detach(), expected['weights'], tolerance)
    assert_close(weights.detach().sum(-1), [2.0] * 14, 1e-12)
    (grad,) = torch.autograd.grad((double(given['c']) * weights[:2]).sum(), alpha)
    assert_close(grad[:2, :4], expected['grad_non'], tolerance)
    assert_close(grad[:2, 4:], expected['grad_params'], tolerance)


def test_the_kinds_are_those_of_the_space_in_any_order():
    mixed = ['sep_conv_3x3', 'none', 'dil_conv_3x3', 'skip_connect']
    table = dict(num_inputs=1, num_nodes=2, output='last', candidates=mixed)
    space = build_space(dict(type='CellSpace', name='mixed', cells=dict(cell=table)))
    alpha = double([[0.3, -0.2, 0.9, 0.4]])
    (found,) = GroupedSoftmax()(dict(cell=alpha), space, 'eval')['cell'].tolist()
    a, b, c, d = (math.exp(value) for value in alpha[0].tolist())
    assert found == pytest.approx([a / (a + c), b / (b + d), c / (a + c), d / (b + d)], rel=1e-12)


def test_edges_of_s1_with_one_kind_have_one_softmax_and_keep_one_candidate():
    last, new = of_operations('s1'), of_pairs(space='s1')
    for alpha in last.arch_parameters.values():
        alpha.data.copy_(torch.randn(alpha.shape, generator=torch.Generator().manual_seed(1)))
    hand_over(new, last)
    for cell, topology in last.space.cells.items():
        weights, slots = last.expected_weights(), last.space.slots(cell)
        for edge, (name, row), flags in zip(topology.edges, slots, new.alive[cell], strict=True):
            beta = weights[name][row]
            free = [one in last.space.parameter_free for one in edge.candidates]
            if len(set(free)) == 2:
                assert beta.tolist() == [1, 1] and flags == [True, True]
            else:
                alpha = last.arch_parameters[name].detach()[row]
                torch.testing.assert_close(beta, alpha.softmax(-1))
                assert flags == [place == int(alpha.argmax()) for place in range(2)]
    assert any(sum(flags) == 1 for flags in new.alive['normal'])


def test_the_best_of_each_kind_stays():
    given, _, _ = golden('dots', 'genotype_topology')
    new = of_the_case()
    for cell in DARTS.cells:
        kept = [[place for place, one in enumerate(flags) if one] for flags in new.alive[cell]]
        assert kept == given['survivors']  # `none` among them
    last = of_operations()
    last.prune('normal', 0, NAMES[:3])
    last.arch_parameters['normal'].data[0] = double([9, 9, 9, -1, 0, 2, 1, 2])
    new = of_pairs()
    hand_over(new, last)
    # what was dropped before does not come back; of a tie the first, as of equal alpha elsewhere
    assert [place for place, one in enumerate(new.alive['normal'][0]) if one] == [3, 5]
    assert [place for place, one in enumerate(new.alive['reduce'][0]) if one] == [0, 4]


@pytest.mark.parametrize('temperature', [10, 1, 0.02])
def test_weights_of_pairs_and_of_what_is_left_of_an_edge(temperature):
    given, cases, tolerance = golden('dots', 'topology_weights')
    expected = cases[str(float(temperature))]
    own = of_the_case(temperature)
    alphas, space = own.view({n: a.detach().clone() for n, a in own.arch_parameters.items()})
    pairs = alphas['normal_pairs'].requires_grad_()
    nodes = own.relaxation.pair_weights(alphas, space)['normal']
    assert [*nodes] == [2, 3, 4, 5]
    found = torch.cat([*nodes.values()]).detach()
    assert_close(found, expected['pair_weights'], tolerance)
    factors = own.relaxation.edge_factors(alphas, space, 'weights')['normal']
    assert_close(factors.detach(), expected['edge_weights'], tolerance)
    (grad,) = torch.autograd.grad((double(given['cE']) * factors).sum(), pairs)
    assert_close(grad[:, 0], expected['beta_grad_of_edge_functional'], tolerance)
    weights = own.expected_weights()['normal']
    survivors = golden('dots', 'genotype_topology')[0]['survivors']
    for row, places, right in zip(weights, survivors, expected['balance'], strict=False):
        assert_close(row[places], right, tolerance)
        assert float(row.sum()) == pytest.approx(1, rel=1e-12)


def test_the_network_multiplies_an_edge_by_the_pairs_that_hold_it():
    """Against the sum over all pairs, by hand, in either execution."""
    torch.manual_seed(0)
    kwargs = dict(space='darts', channels=4, num_cells=3)
    found = []
    for execution in ('plain', 'fused'):
        torch.manual_seed(0)
        net = DARTSSupernet(relaxation='rdarts.EdgePairs', execution=execution, **kwargs).double()
        for cell in DARTS.cells:
            net.arch_parameters[f'{cell}_pairs'].data *= 1e3
        found.append(net(torch.randn(2, 3, 8, 8).double())[0])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)
    pairs = net.arch_parameters['normal_pairs'][:, 0].split([1, 3, 6, 10])
    factors = net.mixing()['normal'][0].edge_factor
    for edge, factor in zip(DARTS.cells['normal'].edges_from(0), factors, strict=True):
        node = EDGES[edge].target
        soft = pairs[node - 2].softmax(0).tolist()
        combinations = itertools.combinations(range(node), 2)
        right = sum(p for p, pair in zip(soft, combinations, strict=True) if 0 in pair)
        assert float(factor) == pytest.approx(right, rel=1e-12)


def test_the_temperature_of_the_last_phase():
    given, expected, tolerance = golden('dots', 'schedule')
    lengths = [phase.epochs for phase in phases()]
    assert sum(lengths) == given['total']
    for epoch, value in expected['T'].items():
        phase, left = 0, int(epoch)
        while left >= lengths[phase]:
            phase, left = phase + 1, left - lengths[phase]
        own = owner(phase).relaxation
        own.set_progress(left, lengths[phase])
        assert abs(own.numbers().get('temperature', 1.0) - value) < tolerance, epoch


def test_the_phases_are_those_of_its_code():
    first, second, third, last = (phase.cfg for phase in phases())
    assert [phase.epochs for phase in phases()] == [15, 15, 20, 20]
    assert [phase.epochs for phase in phases('imagenet')] == [20, 10, 20, 20]
    rests = [HOOKS.build(p.cfg.default_hooks.architect).times.max_steps for p in phases()]
    assert rests == [0, None, 0, None]
    # one cosine of the rate; new weights where pairs begin
    assert all(p.cfg.param_scheduler.T_max == p.cfg.param_scheduler.end == 70 for p in phases())
    assert [sorted(p.goes_on) for p in phases()[1:]] == [
        ['alpha', 'optimizer', 'schedule', 'weights'],
        ['schedule'],
        ['alpha', 'optimizer', 'schedule', 'weights'],
    ]
    assert [tuple(p.cfg.arch_optimizer.betas) for p in phases()] == [(0.5, 0.999)] * 2 + [
        (0.9, 0.999)
    ] * 2
    assert {p.cfg.arch_optimizer.lr for p in phases()} == {3e-4}
    assert third.train_dataloader.dataset.part == 'weights'
    assert last.train_dataloader.dataset.part == 'both' and last.arch_dataloader is None
    architects = [HOOKS.build(cfg.default_hooks.architect).architect for cfg in (second, last)]
    assert [type(one).__name__ for one in architects] == ['FirstOrder', 'SingleLevel']
    assert [p.cfg.default_hooks.genotype.get('discretizer') for p in phases()] == [
        *[None] * 2,
        *['rdarts.BestPairs'] * 2,
    ]
    assert first.model.backbone.alpha_std == last.model.backbone.alpha_std == 0
    clips = [p.cfg.default_hooks.architect.get('arch_clip_grad') for p in phases('imagenet')]
    assert clips[1::2] == [5.0, None]


def test_the_best_pair_of_each_node_is_kept():
    _, expected, _ = golden('dots', 'genotype_topology')
    own = of_the_case(0.02)
    rule = build(phases()[3].cfg.default_hooks.genotype.discretizer, DISCRETIZERS)
    rule.relaxation = own.relaxation
    found = rule(*own.view())
    for cell in DARTS.cells:
        kept = [list(edge) for node in found.nodes[cell] for edge in node]
        assert kept == expected['genotype']
    # an edge that has nothing but `none` left is in no pair that is kept
    own.prune('normal', 2, ['sep_conv_3x3'])
    own.arch_parameters['normal_pairs'].data[1:4, 0] = double([3.0, 1.0, 2.0])
    assert [source for _, source in rule(*own.view()).nodes['normal'][1]] == [1, 2]
    own = of_pairs()
    own.prune('normal', 1, NAMES[1:])
    rule.relaxation = own.relaxation
    with pytest.raises(
        UserError, match=r"'darts', cell 'normal': node 2 has no two edges with a candidate other"
    ):
        rule(*own.view())


def test_what_is_logged_is_of_the_whole_space():
    own = of_the_case()
    values = alpha_statistics(own.arch_parameters, own.space, own.relaxation, own.ways)
    assert torch.tensor(values['weights']['normal']).shape == (14, 8)
    assert torch.tensor(values['alpha']['normal_pairs']).shape == (20, 1)
    assert sum(map(sum, values['weights']['reduce'])) == pytest.approx(14)
    # BER is of the two that are left, without the temperature, and not of pairs
    assert values['mean_entropy'] == pytest.approx(math.log(2), abs=1e-6)
    named = {n: a.detach().clone().requires_grad_() for n, a in own.arch_parameters.items()}
    value = BatchEntropyDecay()(*own.view(named))
    assert float(value.detach()) == pytest.approx(values['mean_entropy'], rel=1e-12)
    grads = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    for (name, alpha), grad in zip(named.items(), grads, strict=True):
        assert (grad is None) == name.endswith('_pairs')
        if grad is not None:
            beta = alpha.detach()[~torch.tensor(own.alive[name])]
            assert not beta.any() and not grad[~torch.tensor(own.alive[name])].any()


def test_ber_moves_a_whole_kind_against_the_other():
    """Eq. 20 of one softmax over all candidates, of which grouped weights know nothing."""
    own = of_operations()
    alpha = torch.zeros(14, 8).double()
    alpha[:, 4:] += 0.5
    alphas = dict(normal=alpha.requires_grad_(), reduce=torch.zeros(14, 8).double())
    weights = own.relaxation(alphas, own.space, 'alpha')['normal']
    torch.testing.assert_close(weights, torch.full((14, 8), 0.25).double())
    (grad,) = torch.autograd.grad(BatchEntropyDecay()(alphas, own.space), alpha)
    assert (grad[:, :4] > 0).all() and (grad[:, 4:] < 0).all()


def chain(*candidates) -> dict:
    """A space in which each node has one edge into it."""
    edges = [(0, 1, candidates), (1, 2, candidates)]
    table = dict(num_inputs=1, num_nodes=3, output='last', edges=edges)
    return dict(type='CellSpace', name='chain', cells=dict(cell=table))


def test_a_node_with_one_edge_keeps_it():
    table = dict(num_inputs=1, num_nodes=4, output='concat', candidates=TWO)
    own = of_pairs(space=dict(type='CellSpace', name='dense', cells=dict(cell=table)))
    assert [tuple(p.shape) for p in own.arch_parameters.values()] == [(6, 2), (4, 1)]
    factors = own.relaxation.edge_factors(*own.view(), 'eval')['cell'].tolist()
    assert factors == pytest.approx([1, 1, 1, 2 / 3, 2 / 3, 2 / 3], rel=1e-12)
    rule = BestPairs()
    rule.relaxation = own.relaxation
    assert [len(edges) for edges in rule(*own.view()).nodes['cell']] == [1, 2, 2]


@pytest.mark.parametrize(
    ('act', 'line'),
    [
        (lambda: EdgePairs(0.0), 'temperature of EdgePairs must be more than 0, but is 0'),
        (lambda: EdgePairs(balance=-1), 'balance of EdgePairs must be more than 0, but is -1'),
        (lambda: of_pairs(space=chain(*TWO)), "EdgePairs: in the space 'chain' no node has more"),
        (
            lambda: of_operations(chain('sep_conv_3x3', 'dil_conv_3x3')),
            "GroupedSoftmax: in the space 'chain' no edge has candidates both with parameters and",
        ),
        (
            lambda: hand_over(
                *(AlphaOwner(chain('skip_connect', 'max_pool_3x3')) for _ in range(2))
            ),
            "KeepByGroup: in the space 'chain' no edge has candidates both with parameters and",
        ),
    ],
)
def test_what_does_not_fit(act, line):
    with pytest.raises(UserError, match=line) as error:
        act()
    assert '\n' not in str(error.value)


def test_a_rule_of_pairs_needs_weights_of_pairs():
    own, rule = AlphaOwner('darts'), BestPairs()
    with pytest.raises(UserError, match=r"relaxation='rdarts\.EdgePairs', in place of Softmax"):
        rule(*own.view())
    assert isinstance(rule.relaxation, Softmax)
    assert build('rdarts.EdgePairs', RELAXATIONS).balance == 1e-3
