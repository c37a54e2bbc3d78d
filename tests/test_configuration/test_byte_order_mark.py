from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.config import config as mmengine_config

from rdarts.configuration.custom_imports import read_with_imports


def test_a_mark_before_a_config_and_its_base(tmp_path):
    (tmp_path / 'base.py').write_text('a = dict(b="é", c=2)\n', encoding='utf-8-sig')
    path = tmp_path / 'config.py'
    text = "_base_ = ['./base.py']\nd = {{_base_.a.c}}\n"
    path.write_text(text, encoding='utf-8-sig')
    cfg = read_with_imports(str(path))
    assert cfg.a == dict(b='é', c=2) and cfg.d == 2
    assert '\ufeff' not in cfg.text
    assert not hasattr(mmengine_config, 'open')
    with pytest.raises(SyntaxError):
        Config.fromfile(path)  # what it is for


def test_mmengine_is_as_before_where_a_config_is_wrong(tmp_path):
    (tmp_path / 'config.py').write_text('a = 1 +\n', encoding='utf-8-sig')
    with pytest.raises(SyntaxError):
        read_with_imports(str(tmp_path / 'config.py'))
    assert not hasattr(mmengine_config, 'open')
