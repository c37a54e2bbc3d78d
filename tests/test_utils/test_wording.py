from __future__ import annotations

from rdarts.utils.wording import named_signal, plural


def test_plural():
    assert [plural(number, 'epoch') for number in (0, 1, 2, 1500)] == [
        '0 epochs',
        '1 epoch',
        '2 epochs',
        '1,500 epochs',
    ]
    for word, many in (
        ('class', 'classes'),
        ('entry', 'entries'),
        ('batch', 'batches'),
        ('search', 'searches'),
        ('branch', 'branches'),
        ('class folder', 'class folders'),
    ):
        assert [plural(1, word), plural(2, word)] == [f'1 {word}', f'2 {many}']


def test_a_signal_has_a_name_or_a_number():
    assert [named_signal(number) for number in (9, 15, 40)] == [
        'signal SIGKILL',
        'signal SIGTERM',
        'signal 40',
    ]
