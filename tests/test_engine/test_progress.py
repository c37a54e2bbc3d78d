from __future__ import annotations

import pytest

from rdarts.engine.progress import RunPlan, TimeToGo


@pytest.mark.parametrize('interval', [1, 2, 3, 7, 9])
@pytest.mark.parametrize('begin', [1, 2, 5, 8])
def test_validations_that_are_left(interval, begin):
    plan = RunPlan(epochs=7, iterations=10, val_batches=4, val_interval=interval, val_begin=begin)
    due = [
        epoch for epoch in range(1, 8) if epoch >= begin and (epoch % interval == 0 or epoch == 7)
    ]
    for done in range(8):
        assert plan.validations(done) == sum(epoch > done for epoch in due)
    assert RunPlan(epochs=7, iterations=10).validations() == 0


def test_seconds_that_are_left():
    plan = RunPlan(epochs=4, iterations=10, val_batches=5, val_interval=2)
    assert plan.seconds(1.0) == 40.0
    assert plan.seconds(1.0, 100.0, 1000.0) == 40 + 200 + 4000
    # within the second epoch, at its end, and one iteration later
    assert plan.seconds(1.0, 100.0, 1000.0, done=15) == 25 + 200 + 3000
    assert plan.seconds(1.0, 100.0, 1000.0, done=20) == 20 + 200 + 3000
    assert plan.seconds(1.0, 100.0, 1000.0, done=21) == 19 + 100 + 2000
    assert plan.seconds(1.0, 100.0, 1000.0, done=40) == 100 + 1000


class Clock:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now


def test_a_run_is_predicted_from_what_it_took():
    clock = Clock()
    plan = RunPlan(epochs=3, iterations=4, val_batches=6)
    to_go = TimeToGo(plan, val_images=2.0, clock=clock)
    clock.now += 1000.0  # not part of the run
    to_go.epoch_begins()
    left = []
    for epoch in range(3):
        for index in range(4):
            clock.now += 30.0 if epoch == index == 0 else 2.0  # the first one warms up
            to_go.iteration_ends()
            left.append(to_go.seconds(4 * epoch + index + 1))
        to_go.epoch_ends()
        clock.now += 0.5
        to_go.validation_begins()
        clock.now += 8.0
        to_go.validation_ends()
        clock.now += 0.25
        to_go.epoch_begins()
    # before the first validation: 6 batches of twice the images at a fifth of an iteration
    guess = 6 * 2.0 / 5 * 2.0
    expected = [None] + [2.0 * (12 - done) + 3 * guess for done in (2, 3, 4)]
    expected += [2.0 * (12 - done) + 2 * 8.75 for done in (5, 6, 7, 8)]
    expected += [2.0 * (12 - done) + 8.75 for done in (9, 10, 11, 12)]
    assert left[0] is None
    assert left[1:] == pytest.approx(expected[1:])


def test_a_run_that_goes_on_with_a_validation():
    clock = Clock()
    to_go = TimeToGo(RunPlan(epochs=3, iterations=2, val_batches=6), clock=clock)
    to_go.validation_begins()
    clock.now += 8.0
    to_go.validation_ends()
    to_go.epoch_begins()
    for seconds in (9.0, 3.0):
        clock.now += seconds
        to_go.iteration_ends()
    # two of six are done before, and two now
    assert to_go.seconds(4) == pytest.approx(2 * 3.0 + 2 * 8.0)
