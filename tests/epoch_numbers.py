"""Epoch numbers of a config, told by their names and values, whatever scales them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from numbers import Number
from typing import Any

from rdarts.configuration.epochs import OF_WATCHERS, scale_epochs

NAMES = re.compile(
    r'(.*epochs?|T_max|T_0|begin|end|milestones|periods|step_size|warm_?up|patience|window|delta)$'
)
# what may be as large as the length of a search by chance
BY_CHANCE = {
    'batch_size',
    'num_classes',
    'num_workers',
    'cells_per_stage',
    'interval',
    'window_size',
    'topk',
}


def leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What is no dict and no list, with its place; a point of a schedule is one, of its epoch."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == 'points':
                for index, (epoch, number) in enumerate(item):
                    yield (*place, 'value', str(index)), number
                    yield (*place, f'{index}_epoch'), epoch
            else:
                yield from leaves(item, (*place, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from leaves(item, (*place, str(index)))
    else:
        yield place, value


def scheduled(entry, name: str = '') -> Iterator[tuple[str, dict]]:
    """The numbers of a config that change over the epochs, by the last key of each."""
    if isinstance(entry, dict):
        if 'points' in entry:
            yield name, entry
        for key, value in entry.items():
            yield from scheduled(value, key)


def assert_epochs_follow(cfg: Any) -> None:
    """Twice as long, and half as long, all of a config's epoch numbers are in proportion.

    Whatever is called an epoch, or is as long as the search, has changed, and all that has changed
    is by as much.
    """
    length = cfg.train_cfg.max_epochs
    lengths = {length, cfg.schedule_epochs}
    before = dict(leaves(cfg.to_dict()))
    for epochs in {2 * length, (length + 1) // 2} - {length}:
        scaled = copy.deepcopy(cfg)
        scale_epochs(scaled, epochs)
        after = dict(leaves(scaled.to_dict()))
        assert after.pop(('epochs',)) == epochs
        assert after.keys() == before.keys()
        for place, value in before.items():
            interval = (*place[:-1], 'measure_interval')
            if place[-1] in OF_WATCHERS and interval in before:  # they count measurements
                exact = value * before[interval] * epochs / length / after[interval]
                assert abs(after[place] - exact) <= 0.5 or after[place] == 1 > exact, place
            elif after[place] == value:
                assert not _counts_epochs(place, value, lengths), (place, value)
            elif value == length - 1:  # what is reached in the last epoch
                assert after[place] == epochs - 1, place
            else:
                exact = value * epochs / length
                assert abs(after[place] - exact) <= 0.5 or after[place] == 1 > exact, place


def _counts_epochs(place: tuple[str, ...], value: Any, lengths: set[int]) -> bool:
    key = next(key for key in reversed(place) if not key.isdigit())
    if isinstance(value, bool) or not isinstance(value, Number) or value <= 0:
        return False
    called = bool(NAMES.match(key))
    by_value = isinstance(value, int) and value in lengths - {1} and key not in BY_CHANCE
    return called or by_value


def assert_within(cfg: Any) -> None:
    """Nothing begins after a search has ended, and no schedule ends after the one of the rate."""
    length, schedule = cfg.train_cfg.max_epochs, cfg.schedule_epochs
    assert length <= schedule
    for place, value in leaves(cfg.to_dict()):
        if place[-1] in ('start_epoch', 'begin_epoch'):
            assert value < length, place
        elif re.match(r'\d+_epoch$', place[-1]):
            assert value <= schedule, place
