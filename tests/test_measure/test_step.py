"""Figures of a step's time and memory: medians, and their quotients."""

from __future__ import annotations

import pytest
import torch
from test_measure.tiny_settings import settings_of

from rdarts.measure import memory, step
from rdarts.measure.counts import Rates
from rdarts.measure.roofline import Call
from rdarts.measure.search import Search, StepSeconds


def took(whole, regularizers):
    return StepSeconds(whole, 0.0, regularizers)


def test_figures_are_medians_and_their_quotients():
    settings = settings_of(amp=True)
    times = dict(
        plain=[took(8.0, 0.1), took(4.0, 0.02), took(5.0, 0.04)],
        plain_channels_last=[took(3.0, 0.04)] * 3,
        fused=[took(2.04, 0.04), took(2.0, 0.04), took(9.0, 0.04)],
        plain_amp=[took(2.5, 5.0)] * 3,
        fused_amp=[took(1.02, 5.0)] * 3,
    )
    rates = Rates(matrix=2e9, copy=1e9)
    calls = [Call('mm', 2_000_000_000, 10), Call('relu', 0, 20_000_000)]
    found = step.summarise(settings, times, 6_000_000_000, rates, calls)
    assert (found['plain_s'], found['plain_channels_last_s'], found['fused_s']) == (5, 3, 2.04)
    assert found['ratio'] == pytest.approx(5 / 2.04)
    assert found['work_gflop'] == 6 and found['matrix_rate_gflops'] == 2
    assert found['limit_ratio'] == pytest.approx(3 / 2.04)
    assert found['plain_limit_ratio'] == pytest.approx(3 / 5)
    assert found['copy_rate_gbytes'] == 1 and found['roofline_s'] == pytest.approx(1.02)
    assert found['roofline_ratio'] == pytest.approx(0.5)
    assert found['images_per_s'] == pytest.approx(2 * 2 / 2.04)
    assert found['regularizers_share'] == pytest.approx(0.04 / 2)
    assert found['amp_ratio'] == pytest.approx(2) and found['plain_amp_ratio'] == 2
    assert found['plain_channels_last_amp_s'] is None
    del times['fused']
    found = step.summarise(settings, times, 6_000_000_000, rates)
    for key in ('fused_s', 'ratio', 'limit_ratio', 'images_per_s', 'amp_ratio'):
        assert found[key] is None
    assert found['roofline_s'] is None and found['roofline_ratio'] is None


def test_what_is_drawn_is_the_same_in_every_execution(monkeypatch):
    drawn = {}
    take = Search.step

    def noted(self):
        found = take(self)
        execution = self.supernet.execution
        drawn.setdefault(execution, []).append(torch.cat(self.architect.owner.drawn))
        return found

    monkeypatch.setattr(Search, 'step', noted)
    # which takes seconds
    monkeypatch.setattr(
        step, 'measure_rates', lambda clock, repeats=1, device='cpu': Rates(1.0, 1.0)
    )
    settings = settings_of(method='gdas', executions=['plain', 'fused'], steps=3)
    times, _ = step.measure(settings)
    assert [len(times[name]) for name in ('plain', 'fused')] == [3, 3]
    torch.testing.assert_close(drawn['fused'], drawn['plain'], rtol=0, atol=0)
    assert not torch.equal(*drawn['plain'][:2])


def test_ratios_of_memory():
    settings = settings_of(amp=True)
    one = dict(idle_mb=500.0, mb=80.0, read_by='VmHWM')
    found = memory.summarise(settings, dict(plain=one, fused=dict(one, mb=20.0, read_by='sampled')))
    assert found['ratio'] == 0.25 and found['read_by'] == ['VmHWM', 'sampled']
    assert (found['plain_mb'], found['plain_idle_mb'], found['plain_amp_mb']) == (80, 500, None)
