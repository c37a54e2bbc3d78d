"""The last line of what a program said."""

from __future__ import annotations

from rdarts.utils.last_line import last_line


def test_it_is_the_last_with_anything_in_it():
    assert last_line('first\n  second \n \n') == 'second'
    assert last_line(ValueError('x\nworse: y\n')) == 'worse: y'
    assert last_line(ValueError(), 'ValueError') == 'ValueError'
    assert last_line(' \n') == ''
