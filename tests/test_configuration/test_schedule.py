"""A lambda over the epochs."""

from __future__ import annotations

import math

import pytest

from rdarts.configuration.schedule import Schedule, Scheduled
from rdarts.errors import UserError

POINTS = [(2, 0.0), (6, 1.0), (10, 0.5)]


def test_a_number_holds_for_ever():
    schedule = Schedule(0.75, 'lambda_')
    assert [schedule.at(epoch) for epoch in (0, 1, 99, 10**6)] == [0.75] * 4


@pytest.mark.parametrize(
    ('interpolation', 'inside'),
    [
        ('linear', {3: 0.25, 4: 0.5, 5: 0.75, 7: 0.875, 8: 0.75, 4.5: 0.625}),
        ('step', {3: 0.0, 4: 0.0, 5: 0.0, 7: 1.0, 9: 1.0, 5.999: 0.0}),
        (
            'cosine',
            {
                3: (1 - math.cos(math.pi / 4)) / 2,
                4: 0.5,
                5: (1 + math.cos(math.pi / 4)) / 2,
                7: 1 - (1 - math.cos(math.pi / 4)) / 4,
                8: 0.75,
            },
        ),
    ],
)
def test_points_and_what_lies_between(interpolation, inside):
    schedule = Schedule(dict(points=POINTS, interpolation=interpolation), 'lambda_')
    for epoch, value in {**inside, 0: 0.0, 2: 0.0, 6: 1.0, 10: 0.5, 11: 0.5, 1000: 0.5}.items():
        assert schedule.at(epoch) == pytest.approx(value, abs=1e-12), epoch


def test_exponential():
    schedule = Schedule(dict(points=[(2, 8.0), (5, 1.0)], interpolation='exponential'), 'tau')
    found = [schedule.at(epoch) for epoch in range(7)]
    assert found == pytest.approx([8, 8, 8, 4, 2, 1, 1], rel=1e-15)
    for value in (0.0, -1.0):
        points = [(0, 1.0), (5, value)]
        line = f'tau must be above 0 to change exponentially, but is {value}'
        with pytest.raises(UserError, match=line):
            Schedule(dict(points=points, interpolation='exponential'), 'tau')


def test_each_gap_may_have_an_interpolation_of_its_own():
    points = [(0, 0.0), (4, 1.0), (5, 8.0), (8, 1.0), (9, 0.0)]
    kinds = ['linear', 'step', 'exponential', 'linear']
    schedule = Schedule(dict(points=points, interpolation=kinds), 'rate')
    found = [schedule.at(epoch) for epoch in range(10)]
    assert found == pytest.approx([0, 0.25, 0.5, 0.75, 1, 8, 4, 2, 1, 0], rel=1e-15)
    kinds[1], kinds[3] = 'linear', 'exponential'  # to a value of 0
    with pytest.raises(UserError, match='rate must be above 0 to change exponentially, but is 0.0'):
        Schedule(dict(points=points, interpolation=kinds), 'rate')


def test_linear_is_the_default_and_one_point_is_a_constant():
    assert Schedule(dict(points=POINTS), 'x').at(3) == 0.25
    assert Schedule(dict(points=[(5, 2.0)]), 'x').at(0) == 2.0
    assert Schedule(dict(points=((0, 1), (4, 0))), 'x').at(1) == 0.75


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, '1', None, True, [1.0]])
def test_what_is_no_finite_number_is_refused(value):
    for spec in (value, dict(points=[(0, 1.0), (1, value)])):
        with pytest.raises(UserError, match='lambda_ must be a finite number'):
            Schedule(spec, 'lambda_')


def test_the_minimum_holds_for_every_point():
    assert Schedule(0, 'x', minimum=0.0).at(0) == 0.0
    with pytest.raises(UserError, match='x must be at least 0, but is -0.1'):
        Schedule(-0.1, 'x', minimum=0.0)
    with pytest.raises(UserError, match='x must be at least 0'):
        Schedule(dict(points=[(0, 1.0), (5, -1.0)]), 'x', minimum=0.0)
    assert Schedule(-0.1, 'x').at(0) == -0.1


@pytest.mark.parametrize(
    ('spec', 'message'),
    [
        (dict(), 'a schedule is dict'),
        (dict(points=[]), 'a schedule is dict'),
        (dict(points=POINTS, interpolate='step'), 'a schedule is dict'),
        (dict(points=POINTS, interpolation='spline'), "but is 'spline'"),
        (dict(points=POINTS, interpolation=['linear', 'spline']), "but is 'spline'"),
        (dict(points=POINTS, interpolation=['step']), '2 for 3 points, but 1 are listed'),
        (dict(points=POINTS, interpolation=['step'] * 3), '2 for 3 points, but 3 are listed'),
        (dict(points=[(1, 0.0), (1, 1.0)]), 'epochs of a schedule must increase'),
        (dict(points=[(2, 0.0), (1, 1.0)]), 'epochs of a schedule must increase'),
        (dict(points=[0.0, 1.0]), 'a point is (epoch, value), but got 0.0'),
        (dict(points=[(0, 1.0, 2.0)]), 'a point is (epoch, value)'),
        (dict(points=[('first', 1.0)]), 'a point is (epoch, value)'),
        (dict(points=[(math.nan, 1.0)]), 'a point is (epoch, value)'),
        (dict(points=3), 'points must be a list'),
    ],
)
def test_a_malformed_schedule_is_a_users_error(spec, message):
    with pytest.raises(UserError) as caught:
        Schedule(spec, 'lambda_')
    assert message in str(caught.value) and str(caught.value).startswith('lambda_')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('spec', 'zero'),
    [(0, True), (0.0, True), (0.1, False), (dict(points=[(0, 0), (3, 0.0)]), True),
     (dict(points=[(0, 0), (3, 1.0)]), False)],
)  # fmt: skip
def test_a_schedule_of_zeros_is_zero(spec, zero):
    assert Schedule(spec, 'x').is_zero is zero


def test_what_has_numbers_says_those_of_the_epoch():
    assert Scheduled().numbers() == {}
    one, two = Scheduled(), Scheduled()
    one.schedules = dict(tau=Schedule(dict(points=POINTS), 'tau'), rho=Schedule(2, 'rho'))
    assert one.numbers() == dict(tau=0.0, rho=2.0)
    one.set_progress(4, 20)
    assert one.numbers() == dict(tau=0.5, rho=2.0) and two.numbers() == {}
