"""What keys of a study hold is checked as arguments of components are, and said in their words."""

from __future__ import annotations

import pytest

from rdarts.configuration.declarations import Positive
from rdarts.errors import UserError
from rdarts.study.schema import check_keys

KEYS = dict(title=str, seeds=Positive, retrain=str | dict, seconds=float)


@pytest.mark.parametrize(
    ('part', 'message'),
    [
        (dict(sedes=3), "here has no key 'sedes': did you mean 'seeds'?"),
        (dict(seeds=0), 'here.seeds must be a whole number of at least 1, but is 0'),
        (dict(seeds=True), 'here.seeds must be a whole number of at least 1, but is True'),
        (dict(title=' '), "here.title must be a text, but is ' '"),
        (dict(retrain=3), 'here.retrain must be a text or a dict, but is 3'),
        (dict(seconds=float('nan')), 'here.seconds must be a finite number, but is nan'),
    ],
)
def test_what_a_key_cannot_hold(part, message):
    with pytest.raises(UserError) as error:
        check_keys(part, KEYS, 'here')
    assert str(error.value) == message


def test_what_it_can():
    check_keys(dict(title='x', seeds=1, retrain=dict(c10='y'), seconds=3), KEYS, 'here')
    check_keys({}, KEYS, 'here')
