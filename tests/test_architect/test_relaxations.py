"""From alpha to mixing weights."""

from __future__ import annotations

import math

import pytest
import torch

from rdarts.architect.relaxations import Relaxation, Softmax
from rdarts.errors import UserError
from rdarts.registry import RELAXATIONS, build
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
    with pytest.raises(TypeError, match='Relaxation does not override forward'):
        Relaxation()({}, build_space('nas_bench_201'), 'alpha')
