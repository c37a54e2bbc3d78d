"""ProxylessNAS: binary gates, two paths in alpha's step, and the weights of what did not run."""

from __future__ import annotations

import itertools
import json
from functools import partial

import pytest
import torch
from golden import assert_close, double, golden
from helpers import digits_runner, log_text
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from test_models.fused_nets import make
from torch import nn
from torch.utils.data import DataLoader

from rdarts.architect.alpha_step import Penalty, share_of_loss
from rdarts.architect.held_rows import HeldRows
from rdarts.architect.regularizers import BatchEntropyDecay
from rdarts.architect.relaxations import BinaryGates, Relaxation
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.models import AlphaOwner, MixedOp, NASBench201Supernet
from rdarts.models.mixed_ops.mixing import Mixing, Relaxed
from rdarts.registry import ARCHITECTS, OPERATIONS, REGULARIZERS, RELAXATIONS, build
from rdarts.search_spaces import build_space

NB201 = build_space('nas_bench_201')


class Identity(Relaxation):
    def relax(self, alpha, phase):
        return alpha


def of_config(name='proxylessnas_nb201_c10', **relaxation):
    """Relaxation, architect and cost of a config."""
    cfg = load_config(configs_folder() / 'search' / f'{name}.py')
    hook = cfg.default_hooks.architect
    gates = build({**cfg.model.backbone.relaxation, **relaxation}, RELAXATIONS)
    return gates, build(hook.architect, ARCHITECTS), hook.regularizers.cost


def draws(monkeypatch, *orders):
    """Let noise draw candidates in these orders, one list a row, in each call the next."""
    calls = iter(orders)

    def noise(self, alpha):
        found = torch.full_like(alpha, 1e100)
        for row, order in enumerate(next(calls)):
            for place, k in enumerate(order):
                found[row, k] = 10.0 ** (-80 + place)
        return found

    monkeypatch.setattr(BinaryGates, 'noise', noise)


# Gradients


class Tanh(nn.Module):
    def __init__(self, in_channels, out_channels, stride, k=1.0):
        super().__init__()
        self.k = nn.Parameter(double(k))

    def forward(self, x):
        return torch.tanh(self.k * x)


@pytest.fixture
def tanh():
    """Four candidates tanh(k x)."""
    names = [f'tanh_{i}' for i in range(4)]
    for name in names:
        OPERATIONS.register_module(name=name, module=type(name, (Tanh,), {}))
    yield names
    for name in names:
        OPERATIONS.module_dict.pop(name)


@pytest.mark.parametrize('published', ['full', 'full_v2'])
@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_all_gates_as_published(tanh, monkeypatch, published, execution):
    given, expected, tolerance = golden('proxylessnas', 'binary_gates_full')
    expected = expected[published]
    gates, *_ = of_config(paths='all')
    draws(monkeypatch, [[given['sampled']]])
    table = dict(only=dict(num_nodes=2, candidates=tanh))
    space = build_space(dict(type='CellSpace', name='tanh', cells=table))
    alpha = double([given['alpha']]).requires_grad_()
    relaxed = gates(dict(only=alpha), space, 'alpha')['only']
    args = {name: dict(k=k) for name, k in zip(tanh, given['k'], strict=True)}
    mixed = MixedOp(tanh, 3, operation_args=args)
    mixed.execution = execution
    x = double(given['x'])[:, :, None, None].requires_grad_()
    out = mixed(x, Mixing(relaxed.weights[0], [[0, 1, 2, 3]]))
    inputs = [relaxed.weights, alpha, x, *mixed.parameters()]
    found = torch.autograd.grad(
        out, inputs, double(given['grad_out'])[:, :, None, None], allow_unused=True
    )
    assert relaxed.active.all()
    assert_close(out.detach()[..., 0, 0], expected['output'], tolerance)
    assert_close(found[0][0], expected['gate_grad'], tolerance)
    assert_close(found[1][0], expected['alpha_grad'], tolerance)
    assert_close(found[2][..., 0, 0], expected['input_grad'], tolerance)
    learns = [bool(grad.any()) for grad in found[3:]]
    assert learns == [k == given['sampled'] for k in range(4)]


def test_the_gradient_along_two_paths(monkeypatch):
    """By hand: sum_j dL/dg_j p_j (delta_ij - p_i) over the two, p their own softmax."""
    gates, *_ = of_config()
    torch.manual_seed(0)
    alpha, slope = torch.randn(6, 5).double(), torch.randn(6, 5).double()
    pairs = [(3, 1), (0, 4), (2, 1), (1, 2), (4, 3), (0, 1)]
    draws(monkeypatch, pairs, [pair[::-1] for pair in pairs])  # of the two, the second
    leaf = alpha.clone().requires_grad_()
    relaxed = gates(dict(cell=leaf), NB201, 'alpha')['cell']
    (found,) = torch.autograd.grad((relaxed.weights * slope).sum(), leaf)
    for row, pair in enumerate(pairs):
        assert relaxed.active[row].nonzero().flatten().tolist() == sorted(pair)
        assert relaxed.weights[row].tolist() == [float(k == pair[1]) for k in range(5)]
        p = alpha[row, list(pair)].softmax(0)
        expected = torch.zeros(5).double()
        for a, i in enumerate(pair):
            for b, j in enumerate(pair):
                expected[i] += slope[row, j] * p[b] * (float(i == j) - p[a])
        torch.testing.assert_close(found[row], expected, rtol=1e-12, atol=1e-14)
    # the drawn candidate is `none`, the first, on edge 5: its alpha rests
    assert relaxed.resting.tolist() == [False] * 6
    draws(monkeypatch, pairs, pairs)
    rests = gates(dict(cell=leaf), NB201, 'alpha')['cell'].resting
    assert rests.tolist() == [pair[0] == 0 for pair in pairs]


def test_draws_follow_the_softmax():
    torch.manual_seed(0)
    alpha = torch.randn(1, 5).double().expand(4000, 5)
    p = alpha[0].softmax(0)
    gates = BinaryGates()
    one = gates.relax(alpha, 'weights')
    assert torch.equal(one.active, one.weights > 0) and bool((one.weights.sum(-1) == 1).all())
    assert (one.weights.mean(0) - p).abs().max() < 0.02
    two = gates.relax(alpha, 'alpha')
    assert bool((two.active.sum(-1) == 2).all() and (two.weights.sum(-1) == 1).all())
    assert bool(two.active[two.weights > 0].all())
    for i, j in itertools.combinations(range(5), 2):
        drawn = two.active[:, i] & two.active[:, j]
        share = p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])
        assert abs(float(drawn.double().mean() - share)) < 0.03
        if int(drawn.sum()) > 400:
            first = float(two.weights[drawn][:, i].mean())
            assert abs(first - float(p[i] / (p[i] + p[j]))) < 0.08
    assert bool((gates.relax(alpha, 'eval').weights.argmax(-1) == p.argmax()).all())
    only = gates.relax(alpha[:, :1], 'alpha')  # where one candidate is left
    assert bool(only.active.all()) and bool((only.weights == 1).all())
    expected = gates.expected(dict(cell=alpha[:6]), NB201)
    assert torch.equal(expected['cell'], alpha[:6].softmax(-1))


def test_what_is_drawn_reaches_the_host_once(monkeypatch):
    net = make('darts', relaxation='rdarts.BinaryGates')
    calls, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, 'cpu', lambda self: calls.append(1) or cpu(self))
    for name in ('item', '__bool__', '__int__', '__float__'):
        monkeypatch.setattr(torch.Tensor, name, lambda self, name=name: pytest.fail(name))
    with net.alpha_phase():
        net.mixing()
    assert len(calls) == 1
    net.mixing()
    assert len(calls) == 2


def test_a_zero_that_is_no_operation():
    BinaryGates(zero=['none', 'skip_connect'])
    with pytest.raises(UserError) as error:
        BinaryGates(zero=['skip_conect'])
    line = "zero of BinaryGates: unknown operation 'skip_conect': did you mean 'skip_connect'?"
    assert str(error.value) == line


def test_paths_that_are_not_known():
    with pytest.raises(UserError, match="paths of BinaryGates must be one of .*, but is 'three'"):
        BinaryGates(paths='three')


# Steps of alpha


class Model(BaseModel):
    """A small supernet of NAS-Bench-201, and the logits of its first ten channels."""

    def __init__(self, **options):
        super().__init__()
        given = dict(relaxation='rdarts.BinaryGates', alpha_std=0.5) | options
        self.backbone = NASBench201Supernet(channels=4, cells_per_stage=1, **given)

    def forward(self, inputs, labels, mode='loss'):
        logits = self.backbone(inputs)[0].mean((2, 3))
        return dict(loss=nn.functional.cross_entropy(logits, labels))


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64)
    return dict(inputs=inputs, labels=torch.arange(4))


def searching(space='nas_bench_201', accumulate=1, **regularizers):
    """The architect of the config over such a model, in float64."""
    _, architect, _ = of_config()
    torch.manual_seed(0)
    model = Model(space=space).double()
    architect.regularizers = regularizers
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=0.01)
    wrapper = OptimWrapper(optimizer, accumulative_counts=accumulate)
    adam = partial(torch.optim.Adam, lr=0.1, betas=(0.0, 0.999))
    samples = [{key: value[i] for key, value in batch(9).items()} for i in range(4)]
    architect.prepare(model, wrapper, DataLoader(samples, batch_size=4), adam)
    wrapper.initialize_count_status(model, 0, 100)
    return architect


def test_a_step_moves_the_two_paths_and_no_probability_of_others():
    architect = searching()
    (alpha,) = architect.alphas
    for _ in range(5):
        before = alpha.clone()
        architect.step(batch(0))
        active, rests = architect.owner.mixed['cell'].active, architect.owner.resting
        p, q = before.softmax(-1), alpha.softmax(-1)
        torch.testing.assert_close(q[~active], p[~active], rtol=1e-13, atol=0)
        assert torch.equal(alpha[~active], before[~active])
        moved = (q - p).abs().sum(-1) > 1e-4
        # a candidate that cannot be told from the other, such as those of an edge to nowhere, stays
        assert not moved[torch.tensor(rests.get('cell', [False] * 6))].any()
        assert moved.any()
    assert all(row.grad is None for row in (*architect.moved, alpha))


def test_where_zero_is_drawn_alpha_and_adam_stand_still(monkeypatch):
    """The golden case: no gradient at all, so Adam passes over the edge; costs and BER too."""
    _, expected, _ = golden('proxylessnas', 'zero_op_active')
    assert expected == dict(alpha_grad='none')
    _, _, cost = of_config()
    cost = build(cost, REGULARIZERS)
    architect = searching(cost=cost, ber=BatchEntropyDecay(0.5))
    (alpha,) = architect.alphas
    state = architect.optimizer.state
    pair = [(3, 1)] * 5
    # of edge 4: none and a convolution; first the convolution is drawn, then none, then again not
    for step, second in enumerate([(3, 0), (0, 3), (3, 0)]):
        draws(monkeypatch, [*pair[:4], (0, 3), (1, 2)], [*pair[:4], second, (2, 1)])
        before = [row.clone() for row in alpha], {k: _copy(state[k]) for k in architect.moved}
        architect.step(batch(0))
        assert architect.owner.resting == (
            {'cell': [False] * 4 + [True, False]} if step == 1 else {}
        )
        for row, own in enumerate(architect.moved):
            still = (step, row) == (1, 4)
            assert torch.equal(alpha[row], before[0][row]) == still
            same = _copy(state[own]).keys() == before[1][own].keys() and all(
                torch.equal(value, before[1][own][name]) for name, value in state[own].items()
            )
            assert same == still
    assert [int(state[row]['step']) for row in architect.moved] == [3, 3, 3, 3, 2, 3]


def _copy(state):
    return {name: value.clone() for name, value in state.items()}


def test_each_edge_has_the_adam_that_the_published_code_gives_it():
    """An Adam for each edge, told of its gradient where it has one, gives the same alpha."""
    architect, twin = searching(), searching()
    rows = [row.clone() for row in twin.alphas[0]]
    adams = [torch.optim.Adam([row], lr=0.1, betas=(0.0, 0.999)) for row in rows]
    rested = 0
    for step in range(12):
        torch.manual_seed(step)
        architect.step(batch(0))
        torch.manual_seed(step)
        grads, _, _ = twin.loss_gradient(batch(0), batch(9))
        active = twin.owner.mixed['cell'].active
        rests = twin.owner.resting.get('cell', [False] * 6)
        rested += sum(rests)
        for row, adam, grad, two, rest in zip(rows, adams, grads[0], active, rests, strict=True):
            if rest:
                continue
            old = row[two].exp().sum()
            row.grad = grad
            adam.step()
            row[two] -= (row[two].exp().sum() / old).log()
        torch.testing.assert_close(architect.alphas[0], torch.stack(rows), rtol=1e-10, atol=1e-12)
        for name, alpha in twin.owner.arch_parameters.items():
            alpha.data.copy_(architect.owner.arch_parameters[name])
        twin.model.load_state_dict(architect.model.state_dict())
    assert 0 < rested < 72


def test_pruned_candidates():
    architect = searching()
    architect.owner.prune('cell', 2, ['none', 'skip_connect', 'nor_conv_1x1', 'avg_pool_3x3'])
    architect.owner.prune('cell', 5, ['skip_connect'])
    before = architect.alphas[0].clone()
    for _ in range(4):
        architect.step(batch(0))
    moved = architect.alphas[0] != before
    assert not moved[2].any() and not moved[5, 1] and moved[5].any()
    assert architect.alphas[0].isfinite().all()


@pytest.mark.parametrize('architect', ['SampledPaths', 'FirstOrder', 'SingleLevel'])
@pytest.mark.parametrize('inner', [True, False])
def test_a_draw_alone_gives_alpha_no_gradient(architect, inner):
    gates = dict(type='rdarts.BinaryGates', paths='one')
    model = Model(relaxation=dict(type='rdarts.EdgeWeights', relaxation=gates) if inner else gates)
    line = (
        f'{architect} takes the gradient of alpha through the network, but '
        f'{"EdgeWeights" if inner else "BinaryGates"} gives none: '
        "paths='one' runs what was drawn alone: set paths='two' or 'all'"
    )
    with pytest.raises(UserError) as error:
        build(architect, ARCHITECTS).prepare(model, None, None, None)
    assert str(error.value) == line


def test_the_state_of_each_edge_is_saved(tmp_path):
    architect = searching()
    for _ in range(3):
        architect.step(batch(0))
    saved = architect.state_dict()
    assert len(saved['optimizer']['state']) == 6
    other = searching()
    other.check_state(saved, other.optimizer, torch.device('cpu'))
    other.load_state_dict(saved)
    assert other.steps == 3 and str(other) == 'first order along sampled paths'


# The expected cost of the paths


def test_the_expected_cost_of_what_was_drawn():
    given, expected, tolerance = golden('proxylessnas', 'expected_latency')
    gates, _, cost = of_config()
    names = ['mbconv_k3_e3', 'mbconv_k5_e3', 'mbconv_k7_e3', 'skip_connect']
    row = dict(zip(names, given['latency'], strict=True))
    table = dict(space='one', unit='ms', costs=dict(layerwise=[row]))
    space = build_space(dict(type='LayerwiseSpace', name='one', layers=[names], costs=table))
    alpha = double([given['alpha']]).requires_grad_()
    cost = build({**cost, 'reference': None}, REGULARIZERS)
    owner = AlphaOwner(space, gates)
    cost.prepare(owner)
    for flags, name in (([1, 1, 1, 1], 'full'), ([0, 1, 0, 1], 'two_of_1_3')):
        active = torch.tensor([flags], dtype=torch.bool)
        owner.mixed = dict(layerwise=Relaxed(active.double(), active))
        value = cost(dict(layerwise=alpha), space)
        assert_close(value.detach(), expected[name], tolerance)
        (grad,) = torch.autograd.grad(value, alpha)
        assert not grad[~active].any()
        if name == 'full':
            assert_close(grad[0], expected['full_grad'], tolerance)


def test_the_losses_of_a_latency():
    given, expected, tolerance = golden('proxylessnas', 'latency_loss')
    _, _, cost = of_config()
    linear = build({**cost, 'reference': given['ref'], 'drawn': False}, REGULARIZERS)
    mul = dict(type='rdarts.CostFactor', lambda_=0.2, power=0.3, reference=given['ref'])
    factor = build({**mul, 'drawn': False}, REGULARIZERS)
    row = [dict(skip_connect=given['expected'])]
    table = dict(space='one', unit='ms', costs=dict(layerwise=row))
    layers = dict(name='one', layers=[['skip_connect']], costs=table)
    space = build_space(dict(type='LayerwiseSpace', **layers))
    ce = double(given['ce'])
    for name, term in {'add#linear': linear, 'mul#log': factor}.items():
        # the weight of the one candidate is 1; d / d weight is E times d / d E
        term.relaxation = Identity()
        alpha = double([[1.0]]).requires_grad_()
        value = term(dict(layerwise=alpha), space)
        (grad,) = torch.autograd.grad(value, alpha)
        penalty = Penalty(term.lambda_.at(0), value.detach(), [grad], term.multiplies)
        share = share_of_loss(lambda: ce, [penalty])
        added = 0 if term.multiplies else penalty.lambda_ * penalty.value
        assert_close(share * ce + added, expected[name]['loss'], tolerance)
        assert_close(share, expected[name]['d_ce'], tolerance)
        slope = float(penalty.share * grad) / given['expected']
        assert_close(slope, expected[name]['d_expected'], tolerance)


# The weights' step


def rows_of(architect):
    """Value and momentum of every row of the candidates' parameters, by (path, row)."""
    found, state = {}, architect.optim_wrapper.optimizer.state
    for path, mixed in architect.owner.named_modules():
        if isinstance(mixed, MixedOp):
            for name, parameter in mixed.operations.named_parameters():
                momentum = state.get(parameter, {}).get('momentum_buffer')
                for row, value in enumerate(parameter):
                    held = torch.zeros_like(value) if momentum is None else momentum[row]
                    found[path, name, row] = torch.stack([value, held]).detach().clone()
    return found


@pytest.mark.parametrize('accumulate', [1, 2])
@pytest.mark.parametrize('execution', ['plain', 'fused'])
def test_the_weights_of_what_did_not_run_stand_still(execution, accumulate):
    architect = searching(accumulate=accumulate)
    architect.owner.execution = execution
    stood = 0
    for step in range(6):
        before, drawn = rows_of(architect), set()
        for part in range(accumulate):
            architect.step(batch(step))
            torch.manual_seed(10 * step + part)
            with torch.no_grad():
                active = architect.owner._relaxed(*architect.owner.view())['cell'].active
            drawn |= {(edge, int(flags.nonzero()[0])) for edge, flags in enumerate(active)}
            torch.manual_seed(10 * step + part)
            architect.train_step(architect.model, batch(step))
        edges = NB201.cells['cell'].edges
        names = {(f'{edges[e].source}_{edges[e].target}', edges[e].candidates[k]) for e, k in drawn}
        for (path, name, row), value in rows_of(architect).items():
            mixed, operation = architect.owner.get_submodule(path), name.split('.')[0]
            (label,) = (
                label
                for label, slots in zip(mixed.labels, mixed.slots, strict=True)
                if (operation, row) in slots
            )
            moved = not torch.equal(value, before[path, name, row])
            assert moved == ((label, operation) in names), (path, name, row)
            stood += not moved
    mixed = [one for one in architect.owner.modules() if isinstance(one, MixedOp)]
    assert stood and mixed and all(one.ran is None for one in mixed)


def test_held_rows_of_any_optimizer():
    torch.manual_seed(0)
    one, other = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(3, 4))
    optimizer = torch.optim.AdamW([one, other], lr=0.1, weight_decay=0.1)
    rows = HeldRows(optimizer)
    for held in ([0, 2], [0], [0, 1]):
        one.grad, other.grad = torch.randn(3, 4), None
        before = one.detach().clone()
        rows.hold([(one, held), (other, [1])])
        assert not one.grad[held].any()
        optimizer.step()
        rows.release()
        same = [torch.equal(a, b) for a, b in zip(one, before, strict=True)]
        assert same == [row in held for row in range(3)]
    assert not optimizer.state[one]['exp_avg'][0].any()
    assert optimizer.state[one]['exp_avg'][1:].any(1).all()


# A search


def test_a_search(tmp_path):
    """The cost is counted once, its unit is told, and it is in the log."""
    runner = digits_runner(tmp_path, config='proxylessnas_nb201_digits')
    runner.train()
    text = log_text(tmp_path)
    assert (
        text.count("costs of the space 'nas_bench_201': millions of multiply-adds of a 3 x ") == 1
    )
    rows = (tmp_path / 'search_log.jsonl').read_text().splitlines()
    (row, *_) = [row for row in map(json.loads, rows) if row['kind'] == 'iter']
    assert row['regularizers']['cost']['lambda_'] == 0.1
