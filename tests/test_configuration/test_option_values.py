"""Values of --cfg-options: data alone, quoted texts whole, one line for what cannot be read."""

from __future__ import annotations

import pytest

from rdarts.configuration.option_values import read_options, read_value
from rdarts.errors import UserError


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1), ('-1', -1), ('.5', 0.5), ('1e-3', 1e-3), ('true', True), ('False', False),
        ('None', None), ('none', 'none'), ('', ''), ('Adam', 'Adam'), ('accuracy/top1',) * 2,
        # lists, tuples, dicts
        ('1,2', [1, 2]), ('1,', [1]), ('[1, 2]', [1, 2]), ('(1,2)', (1, 2)), ('(1,)', (1,)),
        ('(1)', (1,)), ('[]', []), ('()', ()), ('[(1,2,3),[a, b],c]', [(1, 2, 3), ['a', 'b'], 'c']),
        ('[(0, 0.0), (4, 0.75)]', [(0, 0.0), (4, 0.75)]),
        ('dict(type=SGD, lr=.1)', dict(type='SGD', lr=0.1)),
        ("{'a': [1], b: {c: None}}", dict(a=[1], b=dict(c=None))), ('dict()', {}), ('{}', {}),
        ("[dict(type='EMAHook', momentum=.1),dict(type=X)]",
         [dict(type='EMAHook', momentum=0.1), dict(type='X')]),
        # quotes keep what they hold
        ("'my set/x.pth'", 'my set/x.pth'), ('"a, b/x.pth"', 'a, b/x.pth'), ("'1'", '1'),
        ("'[1]'", '[1]'), ("['a, b', \"it's\"]", ['a, b', "it's"]), ("' '", ' '), ("''", ''),
        # without them a space stays too, as the shell hands it over
        ('my set/x.pth', 'my set/x.pth'), ('dir (1)/x.pth', 'dir (1)/x.pth'),
        ('C:\\a b', 'C:\\a b'), ("it's", "it's"),
        # nothing is evaluated
        ('__import__("os").getcwd()', '__import__("os").getcwd()'), ('range(2,6)', 'range(2,6)'),
    ],
)  # fmt: skip
def test_values(text, value):
    found = read_value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ('option', 'says'),
    [
        ('foo', "takes KEY=VALUE, but got 'foo'"),
        ('', "takes KEY=VALUE, but got ''"),
        ('=1', 'empty part in its key'),
        ('a..b=1', 'empty part in its key'),
        ('a=[1,(2]', "cannot read 'a=[1,(2]': ']' closes no bracket"),
        ('a=[1', "']' is missing"),
        ('a=1]', "']' closes no bracket"),
        ('a=b(1', "')' is missing"),
        ("a='b", "the quote ' is not closed"),
        ("a='b'c", "'c' stands behind a value without a comma"),
        ('a=1,,2', 'an element is missing beside a comma'),
        ('a=dict(b)', "KEY=VALUE, but 'b' has no '='"),
        ('a={b}', "KEY:VALUE, but 'b' has no ':'"),
        ('a={[1]: 2}', 'the key of a dict is a name'),
        ('a=' + '[' * 5000, 'nested more than'),
    ],
)
def test_what_cannot_be_read(option, says):
    with pytest.raises(UserError, match='^--cfg-options') as error:
        read_options(['model.x=1', option])
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_dotted_keys_and_equals_signs_in_values():
    assert read_options(['a.b=1', 'c=d=e', 'a.b=2']) == {'a.b': 2, 'c': 'd=e'}
    assert read_options([]) == {}
