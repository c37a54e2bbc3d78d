"""A file that is put into a folder of the package registers itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from forks import MEASURES

from rdarts.errors import UserError
from rdarts.registry import _Registry

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / 'docs' / 'en' / 'adding_a_method.md').read_text(encoding='utf-8')
ALPHA_SQUARES = re.search(
    r'<!-- example: alpha_squares.py -->\n```python\n(.*?)```', PAGE, re.DOTALL
)[1]
# folder: (what registers, from where, the base class, its registry)
FILES = {
    'architect/regularizers': ALPHA_SQUARES,
    'architect/relaxations': ('architect.relaxations', 'Softmax', 'RELAXATIONS'),
    'architect/discretizers': ('architect.discretizers', 'Argmax', 'DISCRETIZERS'),
    'architect/architects': ('architect.architects.first_order', 'FirstOrder', 'ARCHITECTS'),
    'architect/transitions': ('architect.transitions', 'KeepTopOps', 'TRANSITIONS'),
    'engine/selection': ('engine.loops', 'SearchTrainLoop', 'LOOPS'),
    'hooks/watchers': ('hooks.genotype', 'GenotypeHook', 'HOOKS'),
    'models/mixed_ops': ('models.mixed_ops.mixed_op', 'MixedOp', 'MIXED_OPS'),
    'models': """
from torch import nn

from rdarts.registry import OPERATIONS

OPERATIONS.register_module(name='own_operation', module=nn.Identity)
""",
    'models/backbones': ('models.backbones', 'NASBench201Supernet', 'MODELS'),
    'models/heads': ('models.heads.auxiliary_cls_head', 'AuxiliaryClsHead', 'MODELS'),
    'datasets': ('datasets.digits', 'Digits', 'DATASETS'),
    'search_spaces': """
from rdarts.registry import SEARCH_SPACES
from rdarts.search_spaces.nas_bench_201 import nas_bench_201

SEARCH_SPACES.register_module(name='own_space', module=nas_bench_201)
""",
}
SUBCLASS = """
from rdarts.{module} import {base}
from rdarts.registry import {registry}


@{registry}.register_module()
class Own{base}({base}):
    pass
"""
CONFIG = """
_base_ = ['configs/search/rdarts_nb201_digits.py']
data = dict(type='rdarts.OwnDigits', limit=64)
train_dataloader = dict(batch_size=8, dataset=dict(dataset=data))
arch_dataloader = dict(batch_size=8, dataset=dict(dataset=data))
val_dataloader = dict(dataset=dict(dataset=data))
model = dict(
    backbone=dict(
        type='rdarts.OwnNASBench201Supernet',
        space='own_space',
        channels=2,
        relaxation=dict(type='rdarts.OwnSoftmax'),
        mixed_op=dict(type='OwnMixedOp'),
    ),
    neck=None,
    head=dict(type='rdarts.OwnAuxiliaryClsHead', in_channels=8),
)
default_hooks = dict(
    architect=dict(
        type='rdarts.ArchitectHook',
        architect='OwnFirstOrder',
        regularizers=dict(squares=dict(type='AlphaSquares', lambda_=1.0)),
        _delete_=True,
    ),
    genotype=dict(type='rdarts.OwnGenotypeHook', discretizer='OwnArgmax'),
)
phases = [
    dict(),
    dict(
        start=dict(type='OwnKeepTopOps', keep=2),
        train_cfg=dict(type='rdarts.OwnSearchTrainLoop'),
    ),
]
"""
SCRIPT = """
import rdarts
assert rdarts.__file__.startswith({clone!r}), rdarts.__file__
from rdarts import registry
from rdarts.configuration.load import load_config
from rdarts.engine.phase_runs import PhaseRuns
from rdarts.engine.runner import loop_class
from rdarts.engine.runner import build_runner
cfg = load_config('own.py')
cfg.work_dir = 'run'
runner = build_runner(cfg, quiet=True)
backbone = runner.model.backbone
names = [type(hook).__name__ for hook in runner.hooks]
assert 'OwnGenotypeHook' in names, names
architect = next(hook for hook in runner.hooks if hasattr(hook, 'architect')).architect
assert type(architect).__name__ == 'OwnFirstOrder' and set(architect.regularizers) == {{'squares'}}
assert registry.lookup('own_operation', registry.OPERATIONS).__name__ == 'Identity'
runs = PhaseRuns(cfg)
assert [type(one).__name__ for one in runs.transitions[1]] == ['OwnKeepTopOps']
assert loop_class(runs.phases[1].cfg).__name__ == 'OwnSearchTrainLoop'
print(type(backbone).__name__, type(runner.model.head).__name__)
print({{type(m).__name__ for m in backbone.modules()}} & {{'OwnMixedOp', 'OwnSoftmax'}})
"""


@pytest.mark.slow
def test_a_file_in_each_folder_registers_itself(tmp_path):
    clone = tmp_path / 'clone'
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    shutil.copytree(ROOT / 'rdarts', clone / 'rdarts', ignore=ignore)
    shutil.copytree(ROOT / 'configs', clone / 'configs')
    for folder, text in FILES.items():
        if not isinstance(text, str):
            module, base, registry = text
            text = SUBCLASS.format(module=module, base=base, registry=registry)
        (clone / 'rdarts' / folder / 'own_file.py').write_text(text)
    (clone / 'own.py').write_text(CONFIG)
    (tmp_path / 'script.py').write_text(SCRIPT.format(clone=str(clone)))
    # stands for the clone's own installation
    env = dict(os.environ, PYTHONPATH=str(clone), OMP_NUM_THREADS='1')
    env.pop(MEASURES, None)  # it runs a copy of the package
    done = subprocess.run(
        [sys.executable, tmp_path / 'script.py'], cwd=clone, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[-2:]
    assert lines[0] == 'OwnNASBench201Supernet OwnAuxiliaryClsHead'
    assert sorted(re.findall(r'\w+', lines[1])) == ['OwnMixedOp', 'OwnSoftmax']


def test_the_page_lists_the_folders():
    shown = set(re.findall(r'`([a-z_/]+)/`', PAGE[PAGE.index('| regularisers, relax') :]))
    assert shown == set(FILES)


def test_a_file_that_fails_is_named_every_time(tmp_path, monkeypatch):
    package = tmp_path / 'own_folder'
    package.mkdir()
    (package / '__init__.py').write_text('')
    (package / 'broken.py').write_text('\n1 / 0\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = _Registry('thing', scope='own', locations=['own_folder'], folders=['own_folder'])
    for _ in range(2):
        with pytest.raises(UserError, match=r'own_folder: .*broken\.py, line 2: ZeroDivisionError'):
            registry.get('Thing')
