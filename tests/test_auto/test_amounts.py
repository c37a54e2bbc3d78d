"""Numbers and times as people write them."""

from __future__ import annotations

import pytest

from rdarts.auto.amounts import count_words, parse_count, parse_time, time_words
from rdarts.errors import UserError


@pytest.mark.parametrize(
    ('text', 'seconds'),
    [('2h', 7200), ('90m', 5400), ('45s', 45), ('1h30m', 5400), ('1.5h', 5400), ('1h 5min', 3900)],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize('text', ['', '2', 'h', '2d', '2h3', '0s', '-1h', '1h,5m'])
def test_what_is_no_time_is_one_line(text):
    with pytest.raises(UserError, match='^--time .*2h, 90m|above 0'):
        parse_time(text)


@pytest.mark.parametrize(
    ('text', 'value'), [('50M', 5e7), ('1.5G', 1.5e9), ('300k', 3e5), ('2000', 2000), ('.5', None)]
)
def test_counts(text, value):
    if value is None:
        with pytest.raises(UserError, match=r'--max-macs \.5: a number above 0'):
            parse_count(text, '--max-macs')
    else:
        assert parse_count(text, '--max-macs') == value


def test_words():
    assert [time_words(s) for s in (9.4, 200, 3900, 7199.9)] == [
        '9 s',
        '3 min 20 s',
        '1 h 5 min',
        '2 h 0 min',
    ]
    assert [count_words(v) for v in (4.82e7, 1.82e9, 3e5, 12)] == [
        '48.2 M',
        '1.82 G',
        '300 k',
        '12',
    ]
