"""Where the time of a search goes, by a clock that a test sets."""

from __future__ import annotations

import pytest
from helpers import digits_runner
from mmengine.hooks import Hook

from rdarts.measure import overhead


class Clock:
    """Time passes only where a test lets it."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time

    def during(self, function, seconds):
        """The function, which then takes that long."""

        def slow(*args, **kwargs):
            self.time += seconds
            return function(*args, **kwargs)

        return slow


def test_what_is_inside_is_not_counted_outside():
    clock = Clock()
    timer = overhead.SectionTimer(clock)

    class Object:
        def inner(self):
            clock.time += 5
            return 'inner'

        def outer(self, fail=False):
            clock.time += 10
            found = self.inner()
            clock.time += 20
            if fail:
                raise KeyError
            return found

    thing = Object()
    timer.wrap(thing, 'inner', 'data')
    timer.wrap(thing, 'outer', 'compute')
    clock.time += 1
    assert thing.outer() == 'inner'
    assert timer.snapshot() == dict(other=1, data=5, compute=30)
    with pytest.raises(KeyError):
        thing.outer(fail=True)
    timer.set_outermost('data')
    clock.time += 100
    assert timer.snapshot() == dict(other=1, data=110, compute=60)


class Slow(Hook):
    """Lets time pass in data loaders (10), forward passes (100) and hooks (1, 1000)."""

    priority = 'LOWEST'

    def __init__(self, clock):
        self.clock = clock

    def before_train(self, runner):
        architect = next(h for h in runner.hooks if hasattr(h, 'arch_dataloader'))
        loaders = (runner.train_dataloader, architect.arch_dataloader, runner.val_dataloader)
        for loader in loaders:
            loader.collate_fn = self.clock.during(loader.collate_fn, 10)
        model = runner.model
        model.backbone.forward = self.clock.during(model.backbone.forward, 100)
        model.data_preprocessor.forward = self.clock.during(model.data_preprocessor.forward, 0.5)
        architect = architect.architect
        architect.optimizer.step = self.clock.during(architect.optimizer.step, 50)
        self.clock.time += 7  # before the first epoch: nobody's

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.clock.time += 1

    def after_train_epoch(self, runner):
        self.clock.time += 1000

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.clock.time += 2


def test_every_section_gets_its_time(tmp_path):
    clock = Clock()
    runner = digits_runner(tmp_path, images=48, hooks=[Slow(clock)])
    recorder = overhead.Recorder(runner, clock)
    runner.train()
    zero = dict.fromkeys(overhead.SECTIONS, 0)
    # of an iteration: a batch of either loader, a pass forward of either step
    iteration = dict(zero, data=2 * 10.5, compute=2 * 100 + 50, hooks=1)
    assert recorder.parts['train'] == [iteration] * 3
    assert recorder.parts['train_end'] == [dict(zero, hooks=1000)]
    assert recorder.parts['val'] == [dict(zero, data=10.5, compute=100, hooks=2)] * 3
    assert recorder.parts['val_end'] == [zero]
    assert overhead.outside(iteration) == pytest.approx(22 / 272)
