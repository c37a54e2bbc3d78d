"""What a call takes is read from its signature."""

from __future__ import annotations

import functools

import pytest
from torch import nn

from rdarts.utils.signatures import misfit, takes


def function(first, second=2, *, third):
    pass


class Base:
    def __init__(self, height, width=1):
        pass


class Child(Base):
    def __init__(self, depth, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Layer(nn.Module):
    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)


class Created:
    def __new__(cls, size):
        return super().__new__(cls)


@pytest.mark.parametrize(
    ('target', 'names', 'reason'),
    [
        (function, ['first', 'third'], None),
        (function, ['first', 'second', 'third'], None),
        (function, ['first'], "needs 'third'"),
        (function, ['third'], "needs 'first'"),
        (function, ['first', 'third', 'secnd'], "takes no 'secnd': did you mean 'second'?"),
        (functools.partial(function, third=3), ['first'], None),
        (lambda: None, ['x'], "takes no 'x'"),
        (lambda **kwargs: None, ['x'], None),
        (Child, ['depth', 'height'], None),
        (Child, ['depth', 'width'], None),  # the class may set the height itself
        (Child, ['depth', 'heigth'], "takes no 'heigth': did you mean 'height'?"),
        (Child, ['height'], "needs 'depth'"),
        (Layer, ['channels'], None),
        (Layer, ['channels', 'chanels'], "takes no 'chanels': did you mean 'channels'?"),
        (Created, ['size'], None),
        (Created, ['siz'], "takes no 'siz': did you mean 'size'?"),
        (Created, [], "needs 'size'"),
        (dict, ['anything'], None),
        (3, ['x'], None),
    ],
)
def test_misfit(target, names, reason):
    assert misfit(target, names) == reason


def test_what_a_class_takes_by_way_of_its_bases():
    assert all(takes(Child, name) for name in ('depth', 'height', 'width'))
    assert takes(function, 'third') and not takes(function, 'fourth')
    assert not takes(Layer, 'height') and not takes(None, 'height')
