"""The mixer that ParZC predicts with, and its loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau

from rdarts.errors import UserError
from rdarts.registry import PREDICTORS, build
from rdarts.sampling.predictors.bayesian_mixer import BayesianLinear, diff_kendall

TINY = dict(type='BayesianMixer', patches=4, patch=3, width=16, depth=1, epochs=25, lr=1e-2)


def data(count: int = 40, seed: int = 0):
    """Vectors, and a smooth function of them."""
    x = np.random.default_rng(seed).random((count, 8))
    y = x[:, 0] - 2 * x[:, 3] + x[:, 5] ** 2
    return x, (y - y.mean()) / (y.std() or 1)


def test_diff_kendall_is_its_formula_written_out():
    x, y = [0.3, -1.2, 2.0, 0.9], [1.0, -0.5, 0.2, 0.2]
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    product = -2 / 12 * sum(
        math.tanh(0.25 * (x[i] - x[j])) * math.tanh(0.25 * (y[i] - y[j])) for i, j in pairs
    )  # fmt: skip
    joint = -sum(math.tanh((x[i] - x[j]) * (y[i] - y[j]) / 2) for i, j in pairs) / 12
    tensors = [torch.tensor(one, dtype=torch.float64) for one in (x, y)]
    assert diff_kendall(*tensors).item() == pytest.approx(product, rel=1e-12)
    assert diff_kendall(*tensors, 'joint').item() == pytest.approx(joint, rel=1e-12)


def test_diff_kendall_is_the_rank_correlation_where_it_is_sharp():
    x, y = np.random.default_rng(0).normal(size=(2, 30))
    tensors = [torch.tensor(one) for one in (x, y)]
    tau = kendalltau(x, y).statistic
    assert diff_kendall(*tensors, 'joint', 1e6).item() == pytest.approx(-tau, abs=1e-6)
    assert diff_kendall(*tensors, 'product', 1e6).item() == pytest.approx(-2 * tau, abs=1e-6)


def test_weights_are_drawn_in_evaluation_too():
    torch.manual_seed(0)
    layer = BayesianLinear(6, 5).double().eval()
    x = torch.randn(3, 6, dtype=torch.float64)
    torch.manual_seed(1)
    found = layer(x)
    assert not torch.equal(found, layer(x))
    torch.manual_seed(1)
    noise = torch.randn(5, 6, dtype=torch.float64)
    deviation = math.log1p(math.exp(-5))
    assert deviation == pytest.approx(0.006715, rel=1e-4)
    expected = x @ (layer.mu + deviation * noise).T
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    found.sum().backward()
    assert layer.rho.grad.abs().sum() > 0 and set(dict(layer.named_parameters())) == {'mu', 'rho'}


def test_the_published_sizes_are_those_of_its_description():
    predictor = build(dict(type='BayesianMixer', epochs=1), PREDICTORS, random_state=0)
    x = np.random.default_rng(0).random((4, 294))
    net = predictor.fit(x, x[:, 0]).net
    first, second = (512 * 2048 * 2 + 2048 + 512), (512 * 256 * 2 + 256 + 512)
    expected = (
        294 * 256 + 256  # to 16 patches of 16
        + 2 * 16 * 512  # mu and rho
        + 4 * (first + second + 2 * 2 * 512)
        + 2 * 512
        + 2 * 512 * 512
        + 512 + 1
    )  # fmt: skip
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


def test_the_mixer_is_its_description_computed_a_second_way():
    predictor = build(dict(TINY, epochs=1), PREDICTORS, random_state=0)
    x, y = data(5)
    net = predictor.fit(x, y).net.double()
    torch.manual_seed(3)
    found = net(torch.tensor(x))
    torch.manual_seed(3)
    state = {name: value.double() for name, value in net.state_dict().items()}

    def drawn(name, at):
        mu = state[f'{name}.mu']
        weight = mu + F.softplus(state[f'{name}.rho']) * torch.randn(mu.shape, dtype=mu.dtype)
        return at @ weight.T

    at = torch.tensor(x) @ state['enter.0.weight'].T + state['enter.0.bias']
    at = drawn('embed', at.view(5, 4, 3))
    for block in range(2):
        name = f'blocks.{block}.layers'
        inner = F.layer_norm(at, [16], state[f'{name}.0.weight'], state[f'{name}.0.bias'])
        inner = F.gelu(inner @ state[f'{name}.1.weight'].T + state[f'{name}.1.bias'])
        assert inner.shape == (5, 4, (64, 8)[block])
        at = at + inner @ state[f'{name}.3.weight'].T + state[f'{name}.3.bias']
    at = F.layer_norm(at, [16], state['norm.weight'], state['norm.bias']).mean(1)
    expected = drawn('leave', at) @ state['head.weight'].T + state['head.bias']
    torch.testing.assert_close(found, expected[:, 0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('loss', ['product', 'joint', 'mse'])
def test_it_learns_to_rank(loss):
    x, y = data()
    predictor = build(dict(TINY, loss=loss), PREDICTORS, random_state=0).fit(x, y)
    new, target = data(200, seed=1)
    assert kendalltau(predictor.predict(new), target).statistic > 0.6


def test_it_follows_from_its_seed_and_leaves_the_generators_of_others():
    x, y = data(12)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (
        build(dict(TINY, epochs=2), PREDICTORS, random_state=seed).fit(x, y) for seed in (0, 0, 1)
    )
    found = first.predict(x)
    assert np.array_equal(found, first.predict(x)) and np.array_equal(found, again.predict(x))
    assert found.shape == (12,) and not np.array_equal(found, other.predict(x))
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(loss='kendall'), "loss must be .*'product'"),
        (dict(width=0), 'width must be a whole number of at least 1, but is 0'),
        (dict(lr=-1), 'lr must be a finite number above 0, but is -1'),
        (dict(batch_size=1), "the loss 'product' compares pairs: batch_size must be at least 2$"),
    ],
)
def test_bad_arguments_are_one_line(options, message):
    with pytest.raises(UserError, match=message):
        build(dict(type='BayesianMixer', **options), PREDICTORS, random_state=0)


def test_one_vector_alone_teaches_nothing():
    with pytest.raises(UserError, match='it learns from two vectors or more'):
        build(TINY, PREDICTORS, random_state=0).fit(*data(1))
