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


def test_the_error_of_float32_in_float64_is_nothing(monkeypatch):
    settings = settings_of(executions=('plain', 'fused'))
    search = float32_error.Search
    monkeypatch.setattr(float32_error, 'Search', lambda *a, **k: double(search(*a, **k)))
    assert all(v < 1e-12 for values in float32_error.errors(settings, 0).values() for v in values)


def double(search):
    search.model.double()
    return search


def test_what_has_no_meaning_for_float32():
    for settings, seeds in ((settings_of(), 0), (settings_of(amp=True), 1)):
        with pytest.raises(UserError):
            float32_error.float32_error(settings, seeds)
