"""Objects of a program that a config names."""

from __future__ import annotations

import pytest

from rdarts.errors import UserError
from rdarts.utils.given_objects import GivenObjects


def test_an_object_is_found_as_long_as_it_is_given():
    objects, one = GivenObjects('evaluator'), object()
    with objects.give('mine', one):
        assert objects.find('mine') is one
    line = r"^evaluator 'mine' was an object of the program that called search\(\)$"
    with pytest.raises(UserError, match=line):
        objects.find('mine')
