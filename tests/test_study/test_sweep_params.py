"""What a sweep tries: read as data, shown as it was read."""

from __future__ import annotations

import pytest

from rdarts.configuration.options import parse_options
from rdarts.errors import UserError
from rdarts.study.sweep_params import Parameter, option_texts, read_parameters


def test_every_form():
    found = read_parameters(
        ['a.b=log:0.01:1', 'c=uniform:-1:1e3', 'd=int:1:5', "e=choice:x,'1',2,None,True"]
    )
    assert found == [
        Parameter('a.b', 'log', (0.01, 1.0)),
        Parameter('c', 'uniform', (-1.0, 1000.0)),
        Parameter('d', 'int', (1, 5)),
        Parameter('e', 'choice', ('x', '1', 2, None, True)),
    ]
    assert read_parameters([one.to_text() for one in found]) == found
    (code,) = read_parameters(['a=choice:__import__("os"),y'])
    assert code.values == ('__import__("os")', 'y')  # a text, as any other


def test_a_trial_suggests_within_the_bounds():
    optuna = pytest.importorskip('optuna')
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    parameters = read_parameters(['a=log:0.01:1', 'b=int:1:3', 'c=choice:x,y', 'd=uniform:0:1'])
    for _ in range(60):
        trial = study.ask()
        for one in parameters:
            one.suggest(trial)
        study.tell(trial, 0.0)
    values = {one.key: [trial.params[one.key] for trial in study.trials] for one in parameters}
    assert set(values['b']) == {1, 2, 3} and set(values['c']) == {'x', 'y'}
    assert all(0.01 <= value <= 1 for value in values['a'])
    # half of them below the geometric mean of the bounds, not below the arithmetic one
    assert 20 <= sum(value < 0.1 for value in values['a']) <= 40
    assert 20 <= sum(value < 0.5 for value in values['d']) <= 40


def test_options_are_read_as_they_were_tried():
    values = {'a.b': 0.1, 'c': '1', 'd': None, 'e': True, 'f': 'x y', 'g': 3}
    assert parse_options(option_texts(values)) == values


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        ([], 'nothing to try'),
        (['a'], "--param takes KEY=log:LOW:HIGH.*, but got 'a'"),
        (['=int:1:2'], 'takes KEY='),
        (['a..b=int:1:2'], 'takes KEY='),
        (['a=1'], 'the values of a key are log:LOW:HIGH'),
        (['a=normal:0:1'], 'the values of a key are log:LOW:HIGH'),
        (['a=int:1:2', 'a=int:1:3'], "'a' is given twice"),
        (['a=int:1:2.5'], 'int takes LOW:HIGH, two numbers'),
        (['a=log:1'], 'log takes LOW:HIGH, two numbers'),
        (['a=log:1:2:3'], 'log takes LOW:HIGH, two numbers'),
        (['a=uniform:2:1'], 'LOW must be below HIGH'),
        (['a=uniform:nan:1'], 'LOW must be below HIGH'),
        (['a=log:0:1'], 'of log, LOW must be above 0'),
        (['a=choice:x'], 'give two or more'),
        (['a=choice:x,x'], 'all apart'),
        (['a=choice:1,True'], 'all apart'),
        (['a=choice:[1,2],[3]'], 'numbers, texts or None'),
        (['a=choice:(1'], 'cannot read'),
    ],
)
def test_what_is_wrong_is_one_line(texts, message):
    with pytest.raises(UserError, match=message) as error:
        read_parameters(texts)
    assert '\n' not in str(error.value)
