"""A run's config as data."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from rdarts.configuration import as_data
from rdarts.errors import UserError


def test_what_json_lacks():
    config = dict(
        a=(1, 2.5),
        b={3, 1},
        c=float('nan'),
        d=-float('inf'),
        e=np.float32(0.5),
        f=np.arange(2),
        g=Path('x') / 'y',
        h=dict,
        i=json.dumps,
        j=object(),
        k={1: None},
    )
    expected = dict(
        a=[1, 2.5], b=[1, 3], c='nan', d='-inf', e=0.5, f=[0, 1], g='x/y', h='builtins.dict',
        i='json.dumps', j='builtins.object', k={'1': None},
    )  # fmt: skip
    assert as_data.as_data(config) == expected
    assert json.loads(as_data.to_json(Config(dict(a=(1, 2), b=dict(c=True))))) == dict(
        a=[1, 2], b=dict(c=True)
    )


def test_a_folder_that_is_not_utf8_is_kept():
    name = os.fsdecode(b'/data/\xe9t\xe9')
    assert json.loads(as_data.to_json(dict(data_root=name))) == dict(data_root=name)


def test_the_text_is_a_config():
    config = dict(
        model=dict(type='A', backbone=dict(type='B', channels=[1] * 40), head={'a b': None}),
        text='a "quoted" \' line\n and another',
        empty=dict(a={}, b=[]),
        number=0.001,
    )
    text = as_data.as_text(config)
    names: dict = {}
    exec(text, {'dict': dict}, names)
    assert names == config
    assert 'number = 0.001\n' in text and "    type='A',\n" in text
    assert max(map(len, text.splitlines())) <= as_data.WIDTH


def test_what_is_no_config_is_refused_in_one_line(tmp_path):
    path = tmp_path / 'config.json'
    with pytest.raises(UserError, match='no config.json in .*: is it the work directory of a run'):
        as_data.read_config(tmp_path)
    deep = '{"a": ' * 70 + '1' + '}' * 70
    for text, message in (
        ('{', 'config.json: no JSON'),
        ('[' * 100_000, 'no JSON'),
        ('1' * 5000, 'no JSON'),
        ('[1]', 'a config is an object, but this is a list'),
        (deep, 'nested more than 60 deep'),
        ('{"a": "' + 'x' * as_data.MAX_BYTES + '"}', 'larger than 4,194,304 bytes'),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message) as error:
            as_data.read_config(tmp_path)
        assert '\n' not in str(error.value) and len(str(error.value)) < 300
    path.write_bytes(b'\xff\xfe')
    with pytest.raises(UserError, match='not a text file'):
        as_data.read_config(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match='not a regular file'):
        as_data.read_config(tmp_path)


def test_an_earlier_version_says_what_to_do(tmp_path):
    (tmp_path / 'config.py').write_text('raise SystemExit')
    with pytest.raises(UserError, match=r'is of an earlier version, .* resume it once') as error:
        as_data.read_config(tmp_path)
    assert '\n' not in str(error.value)
