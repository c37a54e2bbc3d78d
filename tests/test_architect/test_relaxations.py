"""From alpha to mixing weights."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import digits_runner

from rdarts.architect.discretizers import Argmax, TopEdges
from rdarts.architect.regularizers import ExpectedCost
from rdarts.architect.relaxations import Relaxation, Sigmoid, Softmax
from rdarts.errors import UserError
from rdarts.models import find_alpha_owner
from rdarts.registry import RELAXATIONS, build
from rdarts.results.log import read_search_log
from rdarts.results.search_run import find_runs
from rdarts.search_spaces import build_space


@pytest.mark.parametrize('phase', ['weights', 'alpha', 'eval'])
def test_softmax_of_every_edge(phase):
    space = build_space('s1')
    torch.manual_seed(0)
    alphas = {
        g.name: torch.randn(len(g.edges), len(g.candidates), dtype=torch.float64)
        for g in space.groups
    }
    betas = Softmax()(alphas, space, phase)
    assert list(betas) == list(alphas)
    for name, alpha in alphas.items():
        for row, found in zip(alpha.tolist(), betas[name].tolist(), strict=True):
            total = sum(map(math.exp, row))
            assert found == pytest.approx([math.exp(a) / total for a in row], rel=1e-12)


def test_the_gradient_of_softmax():
    space = build_space('nas_bench_201')
    torch.manual_seed(0)
    alpha = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(6, 5, dtype=torch.float64)
    beta = Softmax()(dict(cell=alpha), space, 'alpha')['cell']
    (grad,) = torch.autograd.grad(beta, alpha, direction)
    b = beta.detach()
    expected = b * (direction - (b * direction).sum(-1, keepdim=True))
    torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-14)


def test_softmax_draws_no_noise_and_is_built_by_name():
    space = build_space('nas_bench_201')
    rule = build('rdarts.Softmax', RELAXATIONS)
    before = torch.get_rng_state()
    rule(dict(cell=torch.zeros(6, 5)), space, 'alpha')
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(UserError, match="did you mean 'Softmax'"):
        build('SoftMax', RELAXATIONS)


def test_a_method_must_say_how_it_relaxes():
    with pytest.raises(TypeError, match='Relaxation does not override relax'):
        Relaxation()(dict(cell=torch.zeros(6, 5)), build_space('nas_bench_201'), 'alpha')


# What is expected of alpha


class Noisy(Relaxation):
    """A softmax with noise, also in evaluation."""

    def __init__(self, sampled=False):
        super().__init__()
        self.sampled = sampled

    def forward(self, arch_parameters, space, phase):
        return {n: (a + torch.rand_like(a)).softmax(-1) for n, a in arch_parameters.items()}


def test_what_is_expected_is_what_evaluation_mixes_by():
    space = build_space('nas_bench_201')
    alphas = dict(cell=torch.randn(6, 5, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(Softmax().expected(alphas, space)['cell'], alphas['cell'].softmax(-1))
    assert torch.equal(Sigmoid().expected(alphas, space)['cell'], alphas['cell'].sigmoid())
    found = Sigmoid().expected_weights(alphas, space)['cell']
    assert torch.equal(found, alphas['cell'].double().sigmoid())
    # one that samples: what a Gumbel-softmax draws by; no number of the search is drawn for it
    before = torch.get_rng_state()
    assert torch.equal(Noisy(True).expected(alphas, space)['cell'], alphas['cell'].softmax(-1))
    Noisy().expected(alphas, space)
    assert torch.equal(torch.get_rng_state(), before)


def test_tensors_of_a_relaxation_meet_alphas_of_their_own_precision():
    class Mixed(Relaxation):
        def __init__(self):
            super().__init__()
            self.register_buffer('mix', torch.eye(5))

        def forward(self, arch_parameters, space, phase):
            return {name: (alpha @ self.mix).sigmoid() for name, alpha in arch_parameters.items()}

    alphas = dict(cell=torch.zeros(6, 5))
    found = Mixed().expected_weights(alphas, build_space('nas_bench_201'))['cell']
    assert found.dtype == torch.float64 and torch.equal(found, torch.full((6, 5), 0.5).double())


def test_weights_of_fewer_candidates_than_the_space_has_are_refused():
    class Fewer(Relaxation):
        def forward(self, arch_parameters, space, phase):
            return {name: alpha[:, :3] for name, alpha in arch_parameters.items() if self.training}

    space, alphas = build_space('nas_bench_201'), dict(cell=torch.zeros(6, 5))
    relaxation = Fewer()
    with pytest.raises(
        UserError, match=r"Fewer: .* group 'cell' must be \[6, 5\], .* gives \[6, 3"
    ):
        relaxation.expected_weights(alphas, space)
    with pytest.raises(UserError, match='but it gives nothing'):
        relaxation.eval().expected_weights(alphas, space)


def test_a_search_logs_and_judges_by_its_own_relaxation(tmp_path):
    """Not by a softmax: a sigmoid's .49 is no .12."""
    options = {
        'model.backbone.relaxation': dict(type='rdarts.Sigmoid'),
        'default_hooks.convergence': dict(type='rdarts.ConvergenceHook'),
        'default_hooks.report': dict(type='rdarts.ReportHook'),
    }
    runner = digits_runner(tmp_path, options)
    runner.train()
    alpha = find_alpha_owner(runner.model).arch_parameters['cell'].detach().double()
    (row,) = read_search_log(tmp_path, 'epoch')
    assert row['weights']['cell'] == alpha.sigmoid().tolist()
    assert all(0.4 < weight < 0.6 for edge in row['weights']['cell'] for weight in edge)
    weights = alpha.sigmoid()
    free = [0, 1, 4]  # none, skip_connect, avg_pool_3x3
    assert row['kinds']['parameter_free']['weight'] == pytest.approx(weights[:, free].mean().item())
    # BER's entropy is that of the softmax of alpha, whatever the relaxation
    beta = alpha.softmax(-1)
    entropy = -(beta * beta.log()).sum(-1)
    assert row['entropy']['cell'] == pytest.approx(entropy.tolist(), rel=1e-12)
    share = weights / weights.sum(-1, keepdim=True)
    relative = (-(share * share.log()).sum(-1) / math.log(5)).mean().item()
    assert row['convergence']['relative_entropy'] == pytest.approx(relative, rel=1e-12)
    assert read_search_log(tmp_path, 'start')[0]['relaxation'] == 'Sigmoid'
    (run,) = find_runs([tmp_path])
    assert {n: w.tolist() for n, w in run.epochs[0]['weights'].items()} == row['weights']
    assert (tmp_path / 'report.html').is_file()


def test_costs_and_rules_read_the_relaxation():
    space = build_space('mobilenet_like')
    layers = [
        {op: float(i) for i, op in enumerate(e.candidates)} for e in space.cells['layerwise'].edges
    ]
    costs = dict(space=space.name, unit='ms', costs=dict(layerwise=layers))
    space = build_space(dict(type='mobilenet_like', costs=costs))
    generator = torch.Generator().manual_seed(0)
    alphas = {
        g.name: torch.randn(len(g.edges), len(g.candidates), generator=generator).requires_grad_()
        for g in space.groups
    }
    term = ExpectedCost()
    term.relaxation = Sigmoid()
    value = term(alphas, space)
    expected = sum((a.sigmoid() * torch.arange(a.shape[1])).sum() for a in alphas.values())
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    (grad,) = torch.autograd.grad(value, alphas['layerwise_0'])
    s = alphas['layerwise_0'].detach().sigmoid()
    torch.testing.assert_close(grad, s * (1 - s) * torch.arange(s.shape[1]))
    # edge 1 -> 2 has the higher sigmoid, edge 0 -> 2 the higher softmax
    cells = dict(cell=dict(num_nodes=3, candidates=['a', 'b'], output='concat'))
    space = build_space(dict(type='CellSpace', name='small', cells=cells))
    alphas = dict(cell=torch.tensor([[0.0, 1.0], [0.0, -9.0], [3.0, 2.9]]))
    rule = TopEdges(k=1)
    assert rule(alphas, space).nodes['cell'][1] == (('a', 0),)
    rule.relaxation = Sigmoid()
    assert rule(alphas, space).nodes['cell'][1] == (('a', 1),)

    class Least(Relaxation):
        def forward(self, arch_parameters, space, phase):
            return {name: (-alpha).softmax(-1) for name, alpha in arch_parameters.items()}

    rule = Argmax()
    assert rule(alphas, space).nodes['cell'] == ((('b', 0),), (('a', 0), ('a', 1)))
    rule.relaxation = Least()
    assert rule(alphas, space).nodes['cell'] == ((('a', 0),), (('b', 0), ('b', 1)))
