"""Spaces as the log of a search holds them."""

from __future__ import annotations

import dataclasses
import json

import pytest
from test_search_spaces.spaces import SPACES

from rdarts.errors import UserError
from rdarts.search_spaces import build_space
from rdarts.search_spaces.as_data import from_data, to_data


@pytest.mark.parametrize('space', SPACES, ids=str)
def test_round_trip(space):
    space = build_space(space)
    found = from_data(json.loads(json.dumps(to_data(space))))
    for field in dataclasses.fields(space):
        if field.name == 'parameter_free':  # the log tells of this space's candidates alone
            assert found.parameter_free == space.parameter_free & set(space.candidates)
        else:
            assert getattr(found, field.name) == getattr(space, field.name), field.name
    assert found.groups == space.groups and found.candidates == space.candidates


def places(value, path=()):
    """Where something is in nested data."""
    yield path
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def test_damaged_data_are_refused_in_one_line():
    """Each part replaced by something else: either it is another space, or one line says why."""
    good = to_data(build_space('s1'))
    refused = 0
    for path in places({**good, 'cells': {'normal': good['cells']['normal']}}):
        for wrong in (None, -1, 10**9, 'x', [], {}, [[0, 0]], {'type': 'os.system'}):
            data = json.loads(json.dumps(good))
            if not path:
                data = wrong
            else:
                place = data
                for key in path[:-1]:
                    place = place[key]
                place[path[-1]] = wrong
            try:
                from_data(data)
            except UserError as error:
                refused += 1
                assert '\n' not in str(error)
    assert refused > 500


def test_nothing_that_is_named_is_looked_up(tmp_path):
    for data in (
        'darts',
        dict(type='darts'),
        dict(type='os.system', command=f'touch {tmp_path / "ran"}'),
        dict(to_data(build_space('darts')), cells=dict(a=dict(num_nodes=10**9, candidates=['b']))),
        dict(to_data(build_space('nas_bench_201')), genotype='layerwise'),
        dict(to_data(build_space('mobilenet_like')), genotype='dense_cell'),
    ):
        with pytest.raises(UserError):
            from_data(data)
    assert not list(tmp_path.iterdir())
