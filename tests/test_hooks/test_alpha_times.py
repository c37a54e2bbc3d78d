"""In which iterations alpha moves."""

from __future__ import annotations

import pytest

from rdarts.errors import UserError
from rdarts.hooks.alpha_times import AlphaTimes


def moved(times, length, epochs=1):
    """(epoch, iteration) of each step."""
    found = []
    for epoch in range(epochs):
        for index in range(length):
            if times.due(epoch, index, length, len(found)):
                found.append((epoch, index))
    return found


def test_each_so_many_th_iteration():
    assert moved(AlphaTimes(), 3) == [(0, 0), (0, 1), (0, 2)]
    assert moved(AlphaTimes(start_epoch=1, every=2), 5, 2) == [(1, 1), (1, 3)]
    assert moved(AlphaTimes(max_steps=4), 3, 3) == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert moved(AlphaTimes(max_steps=0), 3, 3) == []


@pytest.mark.parametrize(
    ('times', 'epochs', 'length', 'why'),
    [
        (AlphaTimes(start_epoch=1), 1, 3, 'start_epoch is 1 of 1 epoch'),
        (AlphaTimes(start_epoch=5), 2, 3, 'start_epoch is 5 of 2 epochs'),
        (AlphaTimes(every=4), 3, 2, 'every is 4, but an epoch has 2 iterations'),
        (AlphaTimes(every=4), 1, 4, ''),
        (AlphaTimes(start_epoch=1, every=2), 2, 2, ''),
        (AlphaTimes(evenly=1), 1, 5, ''),
        (AlphaTimes(evenly=7), 1, 2, ''),
        (AlphaTimes(max_steps=1), 1, 1, ''),
        (AlphaTimes(max_steps=0), 1, 1, 'max_steps is 0'),
    ],
)
def test_a_search_in_which_alpha_never_moves(times, epochs, length, why):
    assert times.why_never(epochs, length) == why
    assert bool(moved(times, length, epochs)) == (why == '')


@pytest.mark.parametrize(('count', 'length'), [(300, 500), (300, 1000), (7, 50), (1, 9), (9, 9)])
def test_so_many_times_an_epoch_evenly(count, length):
    places = [index for _, index in moved(AlphaTimes(evenly=count), length)]
    assert len(places) == count and places[-1] == length - 1
    gaps = [b - a for a, b in zip([-1, *places], places, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_of_an_epoch_of_fewer_iterations_each():
    assert len(moved(AlphaTimes(evenly=300), 20)) == 20


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(start_epoch=-1), 'start_epoch must be an epoch, 0 or later, but is -1'),
        (dict(every=0), 'every must be a number of iterations, 1 or more, but is 0'),
        (dict(evenly=0), 'evenly must be a number of steps, 1 or more, but is 0'),
        (dict(max_steps=-1), 'max_steps must be a number of steps, 0 or more, but is -1'),
        (dict(every=2, evenly=3), 'every does not go with evenly: set one of them'),
    ],
)
def test_what_is_refused(arguments, line):
    with pytest.raises(UserError, match=line):
        AlphaTimes(**arguments)
