"""Options over others: of two lengths that cannot stand together, the upper one counts."""

from __future__ import annotations

import pytest

from rdarts.study.option_layers import options_over, texts_over

STOP = 'train_cfg.max_epochs'


@pytest.mark.parametrize(
    ('lower', 'higher', 'expected'),
    [
        ({STOP: 7, 'limit': 3}, {'limit': 4}, {STOP: 7, 'limit': 4}),
        ({STOP: 7}, {'epochs': 2}, {'epochs': 2}),
        ({'epochs': 2}, {STOP: 7}, {STOP: 7}),
        # a schedule in proportion, if all epoch numbers are
        ({STOP: 5, 'schedule_epochs': 50}, {'epochs': 2}, {'schedule_epochs': 20, 'epochs': 2}),
        ({STOP: 5, 'schedule_epochs': 50}, {STOP: 2}, {'schedule_epochs': 50, STOP: 2}),
        ({'schedule_epochs': 50}, {'epochs': 2}, {'schedule_epochs': 50, 'epochs': 2}),
        # of phases
        ({'phases.0.epochs': 3, 'phases.0.branches': 2}, {'epochs': 9},
         {'phases.0.branches': 2, 'epochs': 9}),
        ({'epochs': 9}, {'phases.1.train_cfg.max_epochs': 3}, {'phases.1.train_cfg.max_epochs': 3}),
        ({'phases.0.epochs': 3}, {'phases.1.epochs': 4},
         {'phases.0.epochs': 3, 'phases.1.epochs': 4}),
    ],
)  # fmt: skip
def test_of_two_lengths_the_upper_one_counts(lower, higher, expected):
    assert options_over(lower, higher) == expected


def test_the_length_before_may_be_that_of_the_config():
    found = options_over({'schedule_epochs': 50}, {'epochs': 2}, length=25)
    assert found == {'schedule_epochs': 4, 'epochs': 2}


def test_texts_stay_as_they_were_written():
    assert texts_over(['a=1', "b='x'"], ['a= 2']) == ['a=1', "b='x'", 'a= 2']
    over = texts_over(["b='x'", 'train_cfg.max_epochs=7', 'schedule_epochs=14'], ['epochs=1'])
    assert over == ["b='x'", 'schedule_epochs=2', 'epochs=1']
