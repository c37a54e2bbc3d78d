"""Names in configs: types with or without a prefix, paths of configs, keys of one's own hook."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rdarts import registry
from rdarts.configuration.load import load_config
from rdarts.configuration.nearest_config import nearest_config
from rdarts.configuration.options import parse_options
from rdarts.configuration.type_names import complete_type_names
from rdarts.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / 'configs' / 'search' / 'rdarts_nb201_digits.py'

OWN = """
from mmengine.hooks import Hook
from rdarts.architect.relaxations import Relaxation
from rdarts.registry import HOOKS, RELAXATIONS


@HOOKS.register_module(force=True)
class PrefixTestHook(Hook):
    def __init__(self, factor=1):
        self.factor = factor


@RELAXATIONS.register_module(force=True)
class PrefixTestRelaxation(Relaxation):
    def forward(self, alpha, phase='eval'):
        return alpha.softmax(-1)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A config with a hook and a relaxation of its own, and two keys that only the hook reads."""

    def write(prefix: str) -> Path:
        path = tmp_path / 'mine.py'
        path.write_text(
            f"_base_ = [r'{DIGITS}']\n"
            "custom_imports = dict(imports=['prefix_test_module'])\n"
            'my_key = 3\n'
            'my_table = dict(a=1)\n'
            'my_interval = 2\n'
            f"default_hooks = dict(mine=dict(type='{prefix}PrefixTestHook', factor=my_interval))\n"
            f"model = dict(backbone=dict(relaxation='{prefix}PrefixTestRelaxation'))\n"
        )
        return path

    (tmp_path / 'prefix_test_module.py').write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield write
    sys.modules.pop('prefix_test_module', None)
    registry.HOOKS.module_dict.pop('PrefixTestHook', None)
    registry.RELAXATIONS.module_dict.pop('PrefixTestRelaxation', None)


@pytest.mark.parametrize('prefix', ['', 'rdarts.'])
def test_ones_own_components_with_and_without_the_prefix(own, prefix):
    cfg = load_config(own(prefix))
    assert cfg.default_hooks.mine.type == 'rdarts.PrefixTestHook'
    hook = registry.HOOKS.build(dict(cfg.default_hooks.mine))
    assert type(hook).__name__ == 'PrefixTestHook' and hook.factor == 2
    relaxation = registry.build(cfg.model.backbone.relaxation, registry.RELAXATIONS)
    assert type(relaxation).__name__ == 'PrefixTestRelaxation'


def test_a_bare_name_that_others_know_is_theirs():
    # mmpretrain has a CIFAR10 too, mmengine a LoggerHook
    cfg = dict(
        a=dict(type='CIFAR10'),
        b=[dict(type='SearchSplit', dataset=dict(type='Digits'))],
        c=dict(type='LoggerHook'),
        d=dict(type='nothing at all', constructor='SearchOptimWrapperConstructor'),
        e=dict(type='Softmax'),
    )
    complete_type_names(cfg, 'mmpretrain')
    assert cfg['a']['type'] == 'CIFAR10'
    assert cfg['b'][0]['type'] == 'rdarts.SearchSplit'
    assert cfg['b'][0]['dataset']['type'] == 'rdarts.Digits'
    assert cfg['c']['type'] == 'LoggerHook'
    assert cfg['d']['type'] == 'nothing at all'
    assert cfg['d']['constructor'] == 'rdarts.SearchOptimWrapperConstructor'
    # a registry that mmengine lacks takes either spelling itself
    assert cfg['e']['type'] == 'Softmax'


def test_keys_that_only_ones_own_hook_reads(own):
    path = own('')
    cfg = load_config(path, parse_options(['my_key=4', 'my_table.a=2', 'my_table.b=x']))
    assert cfg.my_key == 4
    assert cfg.my_table == dict(a=2, b='x')
    with pytest.raises(UserError, match="'my_interval' is used while .*: set default_hooks.mine.f"):
        load_config(path, {'my_interval': 5})
    with pytest.raises(UserError, match="unknown key 'my_kee': did you mean 'my_key'?"):
        load_config(path, {'my_kee': 5})


@pytest.mark.parametrize(
    ('path', 'says'),
    [
        ('rdarts_nb201_digit.py', "did you mean 'configs/search/rdarts_nb201_digits.py'?"),
        ('configs/search/rdarts_nb201_c1.py', "did you mean 'configs/search/rdarts_nb201_c10.py'?"),
        ('config/search/darts_darts_c10', "did you mean 'configs/search/darts_darts_c10.py'?"),
        ('configs/retrain/nb201_digit.py', "did you mean 'configs/retrain/nb201_digits.py'?"),
        ('configs/studies/tabel1.py', "did you mean 'configs/studies/table1.py'?"),
        # in another folder than the one named
        ('configs/search/nb201_in16.py', "did you mean 'configs/search/nao_nb201_in16.py'?"),
        ('setup', 'configs are in configs/detection, configs/retrain, configs/search, configs/stu'),
        ('setp.py', 'configs are in configs/'),
    ],
)
def test_a_mistyped_config(path, says, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert nearest_config(path).startswith(says)


def test_a_mistyped_config_away_from_a_clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert nearest_config('rdarts_nb201_digit.py').endswith(
        "configs/search/rdarts_nb201_digits.py'?"
    )
    (tmp_path / 'mine.py').write_text("_base_ = ['x.py']\n")
    (tmp_path / 'mini.py').write_text('print(1)\n')
    assert nearest_config('min.py') == "did you mean 'mine.py'?"
    with pytest.raises(UserError, match='config not found: a{5000}: '):
        load_config('a' * 5000)
