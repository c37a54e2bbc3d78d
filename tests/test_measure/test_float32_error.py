"""The error of float32, in every execution."""

from __future__ import annotations

import pytest
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
