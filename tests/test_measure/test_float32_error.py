"""The error of float32, in every execution."""

from __future__ import annotations

import pytest
import torch
from test_measure.tiny_settings import settings_of

from rdarts.errors import UserError
from rdarts.measure import float32_error


def test_the_error_of_float32():
    settings = settings_of(executions=('plain', 'fused'))
    found = [float32_error.errors(settings, seed) for seed in range(2)]
    for seed in found:
        assert all(0 < value < 1e-4 for values in seed.values() for value in values)
    result = float32_error.summarise(settings, found)
    weights = [seed['fused'][0] for seed in found]
    assert result['fused_weights_seeds'] == weights
    assert result['fused_weights'] == pytest.approx(sum(weights) / 2)
    ratio = result['fused_alpha'] / result['plain_alpha']
    assert result['ratio_alpha'] == pytest.approx(ratio)


@pytest.mark.parametrize(
    'changes', [{}, dict(method='gdas'), dict(method='fairnas', width=8), dict(space='s4')]
)
def test_the_error_of_float32_in_float64_is_nothing(monkeypatch, changes):
    """Nor where what runs, or noise, is drawn."""
    settings = settings_of(executions=('plain', 'fused'), **changes)
    search = float32_error.Search
    monkeypatch.setattr(float32_error, 'Search', lambda *a, **k: double(search(*a, **k)))
    found = float32_error.errors(settings, 0)
    without_alpha = changes.get('method') == 'fairnas'
    for weights, alpha in found.values():
        assert weights < 1e-12 and (alpha is None if without_alpha else alpha < 1e-12)


@pytest.mark.parametrize('method', ['gdas', 'sdarts_rs', 'drnas', 'snas'])
def test_noise_is_no_error_of_float32(method):
    """What is drawn is the same for the reference in float64."""
    settings = settings_of(executions=('plain', 'fused'), method=method)
    for weights, alpha in float32_error.errors(settings, 0).values():
        assert 0 < weights < 1e-2 and 0 < alpha < 1e-2


@pytest.mark.parametrize(
    'draw',
    [
        torch.rand_like,
        torch.randn_like,
        torch.bernoulli,
        lambda given: torch.multinomial(given, 1),
        lambda given: torch.empty_like(given).uniform_(-1, 1),
        lambda given: torch.empty_like(given).normal_(),
        lambda given: torch.empty_like(given).exponential_(),
        lambda given: torch.empty_like(given).bernoulli_(0.3),
        lambda given: torch.distributions.Dirichlet(given).rsample(),
        lambda given: torch.distributions.Gamma(given, given).rsample(),
    ],
)
def test_either_type_draws_the_same(draw):
    given = torch.tensor([[0.25, 0.5, 0.125, 0.125]]).repeat(20, 1)
    found = []
    for numbers in (given, given.double()):
        torch.manual_seed(0)
        with float32_error.DrawnInFloat32():
            found.append(draw(numbers))
    short, long = found
    assert long.dtype == (torch.float64 if short.is_floating_point() else torch.int64)
    torch.testing.assert_close(long, short.to(long.dtype), rtol=1e-6, atol=1e-7)
    assert short.unique().numel() > 1


def test_what_the_loss_does_not_reach_has_no_error(capsys):
    settings = settings_of(method='proxylessnas', executions=('plain',))
    result = float32_error.float32_error(settings, 1)
    assert 0 < result['plain_weights'] < 1e-4
    assert result['plain_alpha'] is None and result['ratio_alpha'] is None
    float32_error.print_table(settings, result)
    row = capsys.readouterr().out.splitlines()[3].split()
    assert (row[0], row[3:]) == ('plain', ['-', '-'])


def double(search):
    search.model.double()
    return search


def test_what_has_no_meaning_for_float32():
    for settings, seeds in ((settings_of(), 0), (settings_of(amp=True), 1)):
        with pytest.raises(UserError):
            float32_error.float32_error(settings, seeds)
