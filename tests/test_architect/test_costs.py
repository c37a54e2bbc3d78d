"""Costs in the loss of a search: counted where there is no table, added, and as factors."""

from __future__ import annotations

import math

import pytest
import torch
from golden import assert_close, double, golden

from rdarts.architect.alpha_step import Penalty
from rdarts.architect.architect import Architect
from rdarts.architect.regularizers import CostFactor, ExpectedCost
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.measure.cost_table import CostSettings, cost_table
from rdarts.models import AlphaOwner, DARTSSupernet, NASBench201Supernet
from rdarts.registry import REGULARIZERS, build
from rdarts.search_spaces import build_space

CONFIGS = configs_folder() / 'search'


def counted(net, size, **options):
    """An ExpectedCost of a supernet that has seen images of this size."""
    cost = ExpectedCost(**options)
    cost.prepare(net)
    net(torch.zeros(2, 3, *size))
    return cost


def test_a_space_without_a_table_is_counted():
    """The same as the tool counts for such a network."""
    torch.manual_seed(0)
    net = NASBench201Supernet(channels=4, cells_per_stage=2, alpha_std=1.0)
    cost = counted(net, (9, 8))
    found = cost(*net.view())
    options = {'model.backbone.channels': 4, 'model.backbone.cells_per_stage': 2}
    cfg = load_config(CONFIGS / 'darts_nb201_c10.py', options)
    table = cost_table(cfg, 'darts_nb201_c10', CostSettings('macs', (3, 9, 8))).data['costs']
    expected = 0.0
    for row, entry in zip(net.arch_parameters['cell'].softmax(-1), table['cell'], strict=True):
        values = torch.tensor(list(entry.values()))
        expected += float((row * values).sum())
    assert float(found) == pytest.approx(expected, rel=1e-5)
    equal = counted(net, (9, 8), reference='equal')
    mean = sum(sum(entry.values()) / 5 for entry in table['cell'])
    assert float(equal(*net.view())) == pytest.approx(expected / mean - 1, rel=1e-4)
    # what was pruned costs nothing
    net.prune('cell', 0, ['nor_conv_3x3'])
    weights = net.arch_parameters['cell'][0, [0, 1, 2, 4]].softmax(-1)
    rest = [value for name, value in table['cell'][0].items() if name != 'nor_conv_3x3']
    first = float((weights * torch.tensor(rest)).sum())
    before = list(table['cell'][0].values())
    whole = float((net.arch_parameters['cell'][0].softmax(-1) * torch.tensor(before)).sum())
    assert float(cost(*net.view())) == pytest.approx(expected - whole + first, rel=1e-5)


def test_tables_are_kept():
    net = DARTSSupernet('s2', channels=2, num_cells=3)
    cost = counted(net, (8, 8))
    alphas, space = net.view()
    cost(alphas, space)
    first = cost.table(space, alphas['normal'])
    assert cost.table(space, alphas['normal']) is first
    doubles = cost.table(space, alphas['normal'].double())
    assert doubles['normal'].dtype == torch.float64


def test_nothing_that_could_be_counted():
    message = "the space 'nas_bench_201' has no costs: give it a table"
    for owner in (NASBench201Supernet(channels=2), AlphaOwner('nas_bench_201')):
        cost = ExpectedCost()
        cost.prepare(owner)
        with pytest.raises(UserError, match=message):
            cost(*owner.view())


def priced(cost):
    table = dict(space='one', unit='ms', costs=dict(layerwise=[dict(skip_connect=cost)]))
    space = dict(type='LayerwiseSpace', name='one', layers=[['skip_connect']], costs=table)
    return dict(layerwise=torch.zeros(1, 1).double()), build_space(space)


def test_a_factor_of_little_cost_is_defined():
    """Below e, whose logarithm is 1."""
    for cost in (0.0, 1e-9, 0.5, 1.0, math.e):
        assert float(CostFactor()(*priced(cost))) == pytest.approx(1)
    assert float(CostFactor(units=1000.0)(*priced(2.0))) == pytest.approx(math.log(2000) ** 0.6)
    inside = CostFactor(units=1000.0, power_inside=True)
    assert float(inside(*priced(2.0))) == pytest.approx(0.6 * math.log(2000))
    relative = CostFactor(units=1000.0, reference=3.0, power=0.3)
    expected = (math.log(2000) / math.log(3000)) ** 0.3
    assert float(relative(*priced(2.0))) == pytest.approx(expected)
    assert float(CostFactor(reference='equal')(*priced(9.0))) == pytest.approx(1)


@pytest.mark.parametrize(
    ('kind', 'arguments', 'line'),
    [
        (ExpectedCost, dict(reference=0), 'reference of ExpectedCost must be a cost above 0 or'),
        (ExpectedCost, dict(reference='mean'), "or 'equal', but is 'mean'"),
        (CostFactor, dict(power=0.0), 'power of CostFactor must be above 0, but is 0.0'),
        (CostFactor, dict(units=-1.0), 'units of CostFactor must be above 0, but is -1.0'),
        (CostFactor, dict(lambda_=-1.0), 'lambda_ of CostFactor must be at least 0'),
    ],
)
def test_what_is_refused(kind, arguments, line):
    with pytest.raises(UserError, match=line):
        kind(**arguments)


def test_factors_and_terms_together():
    """L prod lambda_i F_i + sum lambda_j R_j, by autograd of the whole."""
    torch.manual_seed(0)
    alphas = [torch.randn(4, 3).double(), torch.randn(2).double()]
    leaves = [alpha.clone().requires_grad_() for alpha in alphas]

    def functions(a, b):
        loss = (a.sin().sum() * b.exp().sum()).square() + 1
        values = dict(
            cost=(a.exp().sum() + b.sum() ** 2).log(),
            ber=(a * a).sum() * b[0],
            other=a.softmax(-1).square().sum() + b.exp().sum(),
        )
        return loss, values

    lambdas = dict(cost=0.2, ber=0.5, other=1.5)
    loss, values = functions(*leaves)
    whole = loss * lambdas['cost'] * values['cost'] * lambdas['other'] * values['other']
    expected = torch.autograd.grad(whole + lambdas['ber'] * values['ber'], leaves)
    leaves = [alpha.clone().requires_grad_() for alpha in alphas]
    loss, values = functions(*leaves)
    grads = torch.autograd.grad(loss, leaves, retain_graph=True)
    penalties = {
        name: Penalty(
            lambdas[name],
            value.detach(),
            list(torch.autograd.grad(value, leaves, retain_graph=True)),
            multiplies=name != 'ber',
        )
        for name, value in values.items()
    }
    found = Architect().combine(loss.detach(), list(grads), penalties)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert penalties['ber'].share == 0.5


def test_the_cost_of_a_draw_above_a_limit(monkeypatch):
    given, expected, tolerance = golden('dsnas', 'flops_term')
    base, result, _ = golden('dsnas', 'alpha_gradient')
    hook = load_config(CONFIGS / 'dsnas_mobilenet_like_imagenet.py').default_hooks.architect
    spec = dict(hook.regularizers.cost, lambda_=given['flops_coef'])
    names = ['none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3']
    cell = dict(num_nodes=4, edges=[(i, i + 1, names) for i in range(3)], output='last')
    space = dict(type='CellSpace', name='chain', cells=dict(cell=cell), discretizer='Argmax')
    owner = AlphaOwner(space, relaxation='rdarts.ScoreFunction').double()
    owner.arch_parameters['cell'].data.copy_(double(base['log_alpha']))
    drawn = double(base['sample']).argmax(-1, keepdim=True)
    monkeypatch.setattr(torch, 'multinomial', lambda p, n: drawn)
    with owner.alpha_phase():
        owner.mixing()
    cases = {
        (1.0, 290.0): expected['alpha_grad_below_290'],  # of 325, in spite of its name
        (1.5, 290.0): expected['alpha_grad_at_1_5_times_flops'],
        (1.0, 326.0): result['alpha_grad'],
    }
    for (factor, limit), total in cases.items():
        term = build(dict(spec, limit=limit), REGULARIZERS)
        term.prepare(owner)
        table = dict(cell=factor * double(given['flops']))
        monkeypatch.setattr(type(term), 'table', lambda self, space, like, table=table: table)
        alpha = owner.arch_parameters['cell'].detach().requires_grad_(True)
        value = term(dict(cell=alpha), owner.space)
        (grad,) = torch.autograd.grad(value, alpha)
        added = given['flops_coef'] * grad + double(result['alpha_grad'])
        assert_close(added, total, tolerance)


def test_the_penalty_of_snas_is_of_the_draw():
    hook = load_config(CONFIGS / 'snas_nb201_c10.py').default_hooks.architect
    cost = build(dict(hook.regularizers.cost), REGULARIZERS)
    assert cost.lambda_.is_zero and cost.drawn
    torch.manual_seed(0)
    soft = dict(type='rdarts.GumbelSoftmax', hard=False, temperature=0.5)
    net = NASBench201Supernet(channels=4, cells_per_stage=1, relaxation=soft)
    cost.prepare(net)
    with net.alpha_phase():
        net(torch.zeros(2, 3, 8, 8))
    weights = net.mixed['cell'].weights.detach()
    table = cost.table(net.space, weights)['cell']
    expected = float((weights * table).sum() / table.mean(-1).sum() - 1)
    assert float(cost(*net.view())) == pytest.approx(expected, rel=1e-5)


RELAXATIONS_THAT_DRAW = [
    'rdarts.ScoreFunction',
    dict(type='rdarts.GumbelSoftmax', hard=True),
    dict(type='rdarts.BinaryGates', paths='two'),
    dict(type='rdarts.BinaryGates', paths='all'),
]


@pytest.mark.parametrize('relaxation', RELAXATIONS_THAT_DRAW, ids=str)
def test_the_cost_of_one_draw_an_edge(relaxation):
    torch.manual_seed(0)
    net = NASBench201Supernet(channels=4, cells_per_stage=1, relaxation=relaxation, alpha_std=0.5)
    term = build('rdarts.SampledCost', REGULARIZERS)
    term.prepare(net)
    with net.alpha_phase():
        net(torch.zeros(2, 3, 8, 8))
    drawn = net.mixed['cell'].weights.double()
    assert torch.equal(drawn.sum(-1), torch.ones(6).double())
    p = net.arch_parameters['cell'].detach().double().softmax(-1)
    table = term.table(net.space, drawn)['cell']
    assert float(term(*net.view())) == pytest.approx(float((p * drawn * table).sum()), rel=1e-5)


@pytest.mark.parametrize('relaxation', ['Softmax', dict(type='GumbelSoftmax', hard=False)])
def test_the_cost_of_a_draw_where_nothing_is_drawn(relaxation):
    owner = AlphaOwner('nas_bench_201', relaxation=relaxation)
    build(dict(type='rdarts.SampledCost', lambda_=0.0), REGULARIZERS).prepare(owner)
    name = relaxation if isinstance(relaxation, str) else relaxation['type']
    with pytest.raises(UserError) as error:
        build('rdarts.SampledCost', REGULARIZERS).prepare(owner)
    assert str(error.value) == (
        f'SampledCost is of the candidates that were drawn, but {name} draws none: take a '
        'relaxation that does, such as ScoreFunction, or the regularizer ExpectedCost'
    )


def test_a_limit_below_0():
    with pytest.raises(UserError, match='limit of SampledCost must be 0 or more, but is -1'):
        build(dict(type='rdarts.SampledCost', limit=-1), REGULARIZERS)
