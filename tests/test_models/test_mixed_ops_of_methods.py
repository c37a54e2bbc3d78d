"""Mixed operations of the field against the published codes, and fused against plain."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from golden import assert_close, double, golden
from torch import nn

from rdarts.architect.relaxations import GumbelSoftmax
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.configuration.schedule import Schedule
from rdarts.errors import UserError
from rdarts.models import AlphaOwner, MixedOp
from rdarts.models.backbones.search_cell import SearchCell
from rdarts.models.mixed_ops.auxiliary_skip import AuxiliarySkip
from rdarts.models.mixed_ops.drop_path import DropPath
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.models.mixed_ops.partial_channels import PartialChannels, shuffle
from rdarts.registry import MIXED_OPS, OPERATIONS, build
from rdarts.search_spaces import build_space

ROOT = Path(__file__).resolve().parents[2]
SEARCH = configs_folder() / 'search'
EXECUTIONS = ['plain', 'fused']
NAMES = ['none', 'skip_connect', 'sep_conv_3x3', 'max_pool_3x3', 'dil_conv_5x5']


def of_config(config, candidates, channels, execution='plain', options=None, **kwargs):
    """The mixed operation of a config, in float64."""
    cfg = load_config(SEARCH / f'{config}.py', options).model.backbone.mixed_op
    mixed = build(cfg, MIXED_OPS, candidates=candidates, in_channels=channels, **kwargs).double()
    mixed.execution = execution
    return mixed


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_partial_channels(execution):
    given, expected, tolerance = golden('pc_darts', 'mixed_op_stride1')
    x = double(given['x'])
    mixed = of_config('pc_darts_darts_c10', [given['primitives']], x.shape[1], execution)
    weights = double(given['weights']).requires_grad_()
    out = mixed(x, weights)
    assert_close(out.sum(), expected['output_sum'], tolerance)
    assert_close(out.sum((0, 2, 3)), expected['output_channel_sums'], tolerance)
    assert_close(out[0, :, 0], expected['output_0'], tolerance)
    (grad,) = torch.autograd.grad(out.square().sum(), weights)
    assert_close(grad, expected['weight_grad_of_sum_of_squares'], tolerance)
    order = shuffle(torch.arange(8.0).view(1, 8, 1, 1), given['K']).flatten().long().tolist()
    assert order == expected['shuffle_permutation']


@pytest.mark.parametrize('groups', [1, 2, 4])
def test_a_shuffle_keeps_the_memory_format(groups):
    x = torch.randn(2, 8, 3, 5)
    order = torch.arange(8).view(groups, -1).T.flatten()
    for memory in (torch.contiguous_format, torch.channels_last):
        found = shuffle(x.contiguous(memory_format=memory), groups)
        assert torch.equal(found, x[:, order]) and found.is_contiguous(memory_format=memory)


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_auxiliary_skip(execution):
    given, expected, tolerance = golden('darts_minus', 'mixed_op_stride1')
    x = double(given['x'])
    mixed = of_config('darts_minus_darts_c10', given['primitives'], x.shape[1], execution)
    mixed.set_progress(20, 50)  # where the factor is that of the case
    assert mixed.numbers()['beta'] == pytest.approx(given['beta'])
    weights = double(given['weights']).requires_grad_()
    out = mixed(x, weights)
    assert_close(out.sum(), expected['output_sum'], tolerance)
    assert_close(out[0, 0], expected['output_0_0'], tolerance)
    assert_close(out[1, 7], expected['output_1_7'], tolerance)
    (grad,) = torch.autograd.grad(out.square().sum(), weights)
    assert_close(grad, expected['weight_grad_of_sum_of_squares'], tolerance)


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_auxiliary_skip_of_stride_2_has_weights_of_its_own(execution):
    x = double(golden('darts_minus', 'mixed_op_stride1')[0]['x'])
    given, expected, tolerance = golden('darts_minus', 'mixed_op_stride2')
    channels = x.shape[1]
    mixed = of_config('darts_minus_darts_c10', given['primitives'], channels, execution, stride=2)
    mixed.set_progress(20, 50)
    assert mixed.numbers()['beta'] == pytest.approx(given['beta'])
    own = mixed.operations['auxiliary_skip']
    with torch.no_grad():
        own.conv_1.weight.copy_(double(given['aux_conv_1'])[None])
        own.conv_2.weight.copy_(double(given['aux_conv_2'])[None])
    assert_close(mixed(x, double(given['weights'])), expected['output'], tolerance)


def test_the_factor_of_the_auxiliary_skip():
    given, expected, tolerance = golden('darts_minus', 'beta_schedule')
    mixed = of_config('darts_minus_darts_c10', ['skip_connect'], 2).float()
    for epoch in given['epochs']:
        mixed.set_progress(epoch, given['T_max'])
        assert abs(mixed.numbers()['beta'] - expected['linear'][str(epoch)]) < tolerance
    x = torch.randn(1, 2, 4, 4)
    mixed.set_progress(50, 50)
    assert torch.equal(mixed(x, torch.zeros(1)), torch.zeros_like(x))


def test_the_factor_between_two_epochs_as_published():
    """The published code's ramp is of 40 epochs, and stays where its last epoch leaves it."""
    given, expected, tolerance = golden('darts_minus', 'beta_schedule_start_stop')
    start, stop = given['T_start'], given['T_stop']
    left = (given['T_max'] - stop) / (given['T_max'] - start)
    options = {'model.backbone.mixed_op.beta.points': [(start, given['base']), (stop, left)]}
    mixed = of_config('darts_minus_darts_c10', ['skip_connect'], 2, options=options)
    for epoch, value in expected.items():
        mixed.set_progress(int(epoch), given['T_max'])
        assert abs(mixed.numbers()['beta'] - value) < tolerance


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('active', [None, [[0, 2], [], [1, 3]]])
@pytest.mark.parametrize('factor', [False, True])
@pytest.mark.parametrize('kind', [PartialChannels, AuxiliarySkip, DropPath])
def test_fused_gives_what_plain_gives(kind, factor, active, stride):
    torch.manual_seed(0)
    edges = [NAMES, NAMES[1:3], NAMES]
    options = {PartialChannels: dict(share=2), AuxiliarySkip: dict(beta=0.3)}
    mixed = kind(edges, 16, stride=stride, **options.get(kind, dict(prob=0.4))).double()
    found = []
    for execution in EXECUTIONS:
        torch.manual_seed(2)
        mixed.execution = execution
        generator = torch.Generator().manual_seed(1)

        def numbers(*sizes, generator=generator):
            return torch.randn(*sizes, generator=generator, dtype=torch.float64).requires_grad_()

        x, weights, factors = numbers(2, 16, 6, 6), numbers(12), numbers(3)
        into = [None, numbers(2, 16, 6 // stride, 6 // stride).detach(), None]
        own = active if active is None else [active[0], [], active[2]]
        mixing = Mixing(weights, own, factors if factor else None)
        outs = mixed.forward_edges(x, mixing, into)
        leaves = [x, weights, *([factors] if factor else []), *mixed.parameters()]
        loss = sum((out.tanh() * (i + 1)).sum() for i, out in enumerate(outs))
        grads = torch.autograd.grad(loss, leaves, allow_unused=True)
        grads = [
            torch.zeros_like(t) if g is None else g for t, g in zip(leaves, grads, strict=True)
        ]
        found.append([*outs, *grads])
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-10 * other.norm().clamp_min(1e-3)


class Times(nn.Module):
    def __init__(self, in_channels, out_channels, stride, k=1.0):
        super().__init__()
        self.k = nn.Parameter(double(k))

    def forward(self, x):
        return self.k * x


@pytest.fixture
def times():
    """Five candidates k x."""
    names = [f'times_{i}' for i in range(5)]
    for name in names:
        OPERATIONS.register_module(name=name, module=type(name, (Times,), {}))
    yield names
    for name in names:
        OPERATIONS.module_dict.pop(name)


@pytest.mark.parametrize(('constant', 'form'), [(True, 'official'), (False, 'without_broadcast')])
@pytest.mark.parametrize('execution', EXECUTIONS)
def test_the_cell_of_gdas(times, monkeypatch, execution, constant, form):
    given, expected, tolerance = golden('gdas', 'cell_non_chosen_weights_broadcast')
    monkeypatch.setattr(GumbelSoftmax, 'noise', lambda self, alpha: double(given['E']))
    options = {'model.backbone.relaxation.temperature': given['tau']}
    if constant:
        options['model.backbone.relaxation.constant'] = True
    backbone = load_config(SEARCH / 'gdas_nb201_c10.py', options).model.backbone
    cells = dict(cell=dict(num_nodes=3, candidates=times, output='last'))
    space = build_space(dict(type='CellSpace', name='times', cells=cells))
    owner = AlphaOwner(space, backbone.relaxation).double()
    args = {name: dict(k=k) for name, k in zip(times, given['op_factors'], strict=True)}

    def build_mixed_op(candidates, channels, **kwargs):
        mixed = build(
            backbone.mixed_op,
            MIXED_OPS,
            candidates=candidates,
            in_channels=channels,
            operation_args=args,
            **kwargs,
        )
        mixed.execution = execution
        return mixed

    topology = space.cells['cell']
    names = [f'{edge.target}<-{edge.source}' for edge in topology.edges]
    assert names == given['edges']
    cell = SearchCell(SimpleNamespace(build_mixed_op=build_mixed_op), topology, 2)
    alpha = owner.arch_parameters['cell']
    alpha.data.copy_(double(given['alpha']))
    alpha.requires_grad_()
    owner.cell_types = ['cell']
    shifts = [{name: zero.requires_grad_() for name, zero in owner.zero_shifts()[0].items()}]
    with owner.shifted(shifts):
        (mixing,) = owner.cell_mixings()
    chosen = [k for node in (0, 1) for (k,) in mixing[node].active]
    assert chosen == expected['chosen']
    (out,) = cell([double(given['x'])], mixing)
    assert_close(out, expected['output'], tolerance)
    leaves = [shifts[0]['cell'], alpha]
    weight, own = torch.autograd.grad(out, leaves, double(given['grad_out']))
    assert_close(weight, expected[f'{form}_weight_grad'], tolerance)
    assert_close(own, expected[f'{form}_alpha_grad'], tolerance)


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_constants_give_a_gradient_and_no_value(execution):
    given, _, _ = golden('gdas', 'cell_non_chosen_weights_broadcast')
    x = double(given['x'])
    mixed = MixedOp([['none', 'skip_connect'], ['skip_connect', 'none']], 2).double()
    mixed.execution = execution
    weights = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64).requires_grad_()
    g = double(given['grad_out'])
    for constant in (True, False):
        outs = mixed.forward_edges(x, Mixing(weights, [[1], [1]], constant=constant))
        assert torch.equal(outs[0], x) and torch.equal(outs[1], torch.zeros_like(x))
        (grad,) = torch.autograd.grad(sum((g * out).sum() for out in outs), weights)
        whole = float(g.sum()) if constant else 0.0
        ran = [float((g * x).sum()), 0.0]
        torch.testing.assert_close(grad, double([whole, ran[0], whole, ran[1]]))


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_an_edge_factor_multiplies_the_result(execution):
    torch.manual_seed(0)
    mixed = MixedOp([NAMES, NAMES[1:]], 8).double()
    mixed.execution = execution
    x, weights = torch.randn(2, 8, 5, 5).double(), torch.randn(9).double()
    factor = double([0.5, -2.0])
    mixed.eval()
    alone = mixed.forward_edges(x, Mixing(weights))
    outs = mixed.forward_edges(x, Mixing(weights, edge_factor=factor))
    for out, one, by in zip(outs, alone, factor, strict=True):
        torch.testing.assert_close(out, by * one)


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (
            dict(in_channels=6),
            'share of PartialChannels must divide the number of channels, but is 4',
        ),
        (dict(in_channels=8, share=0), 'must divide the number of channels, but is 0 of 8'),
        (dict(in_channels=8, out_channels=16), 'one goes from 8 to 16'),
    ],
)
def test_partial_channels_that_do_not_fit(arguments, line):
    with pytest.raises(UserError, match=line):
        PartialChannels(['skip_connect'], **arguments)


@pytest.mark.parametrize('execution', EXECUTIONS)
def test_drop_path(execution):
    """Of each edge and image the whole mixture, or none of it; what stays has the same mean."""
    torch.manual_seed(0)
    edges = [['skip_connect', 'none'], ['skip_connect', 'none']]
    mixed = DropPath(edges, 8, prob=0.25)
    mixed.execution = execution
    x = torch.randn(400, 8, 2, 2)
    weights = torch.tensor([0.5, 0.5, 1.0, 0.0])
    into = [torch.ones_like(x), None]
    kept = []
    for edge, (out, rest) in enumerate(zip(
        mixed.forward_edges(x, Mixing(weights), into), (1.0, 0.0), strict=True
    )):  # fmt: skip
        whole = weights[2 * edge] * x / 0.75
        there = (out - rest).flatten(1).abs().amax(1) > 1e-6
        torch.testing.assert_close(out - rest, whole * there[:, None, None, None])
        assert 270 < int(there.sum()) < 330
        kept.append(there)
    assert not torch.equal(*kept)
    for quiet in (mixed.eval(), DropPath(edges, 8)):
        quiet.execution = execution
        state = torch.get_rng_state()
        outs = quiet.forward_edges(x, Mixing(weights))
        torch.testing.assert_close(outs[1], x)
        assert torch.equal(torch.get_rng_state(), state)


def test_the_probability_of_drop_path_grows_as_published():
    """That of cutout too, which the published code has where it drops paths."""
    given, expected, tolerance = golden('robust_darts', 'drop_path_and_cutout')
    page = (ROOT / 'docs' / 'en' / 'methods.md').read_text(encoding='utf-8')
    (code,) = re.findall(r'<!-- example: robust_darts_s2_c10_drop_path.py -->\n```python\n(.*?)```',
                         page, re.DOTALL)  # fmt: skip
    assert given['E'] == 50 and f', {given["p"]})' in code
    names: dict = {}
    exec(code, {}, names)
    mixed = DropPath(NAMES, 4, **without_type(names['model']['backbone']['mixed_op']))
    cut = next(one for one in names['pipeline'] if one['type'] == 'rdarts.BatchCutout')
    cutout = Schedule(cut['prob'], 'prob')
    for epoch, value in expected.items():
        mixed.set_progress(int(epoch), given['E'])
        assert abs(mixed.numbers()['prob'] - value) < tolerance
        assert abs(cutout.at(int(epoch)) - value / given['p']) < 10 * tolerance


def without_type(arguments: dict) -> dict:
    return {key: value for key, value in arguments.items() if key != 'type'}


@pytest.mark.parametrize(
    ('prob', 'line'),
    [
        (1.0, 'prob of DropPath must be below 1, but is 1'),
        (dict(points=[(0, 0), (9, 1.5)]), 'prob of DropPath must be below 1, but is 1.5'),
        (-0.1, 'prob of DropPath must be at least 0, but is -0.1'),
    ],
)
def test_drop_path_with_what_is_no_probability(prob, line):
    with pytest.raises(UserError, match=line):
        DropPath(NAMES, 4, prob=prob)
