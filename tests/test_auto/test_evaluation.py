"""Accuracies with their intervals, and which network is said to be best."""

from __future__ import annotations

import math

import pytest

from rdarts.auto.evaluation import Evaluation, interval, verdict


def result(right: int, macs: int, count: int = 300) -> Evaluation:
    return Evaluation(right, count, *interval(right, count), [], [], macs, 10, 1.0)


@pytest.mark.parametrize(('right', 'count'), [(0, 10), (7, 10), (180, 300), (300, 300)])
def test_the_interval_is_wilsons(right, count):
    z, share = 1.959963984540054, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / 2 / count) ** 2)
    assert interval(right, count) == pytest.approx((100 * (middle - half), 100 * (middle + half)))


def test_the_best_is_said_to_be():
    others = [('ResNet-18', result(170, 200)), ('MobileNetV2', result(150, 50))]
    assert verdict(result(180, 100), others).startswith('The network found is best: 60.0 %')
    assert '0.50 of its multiply-adds' in verdict(result(180, 100), others)
    equal = verdict(result(170, 100), others)
    assert equal.startswith('The network found is no worse than the best baseline')
    within = verdict(result(160, 100), others)
    assert within.startswith('ResNet-18 is best: 56.7 %') and 'lies within its interval' in within
    below = verdict(result(100, 100), others)
    assert below.startswith('ResNet-18 is best') and 'below its interval' in below
    assert '23.3 points less' in below
    assert verdict(result(180, 100), []).startswith('The network found classifies 60.0 %')
