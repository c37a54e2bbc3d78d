"""The wheel: what is in it, and configs that inherit from it outside of a clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
USE = """
from rdarts.configuration.load import load_config
import rdarts
cfg = load_config('mine.py')
print(rdarts.__file__)
print(cfg.model.backbone.type, cfg.default_hooks.architect.lambda_, cfg.train_cfg.max_epochs)
from rdarts.configuration.folder import configs_folder
print(configs_folder())
from rdarts.apis import build_net
print(sum(p.numel() for p in build_net('DARTS_V2').parameters()))
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: a build leaves folders behind."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    files = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if files.returncode:
        pytest.skip('not a git clone')
    for name in files.stdout.split('\n'):
        if name and (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    done = subprocess.run(
        [*command, '--wheel-dir', str(folder), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob('*.whl'))


@pytest.mark.slow
def test_configs_and_tools_are_in_it(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ('configs', 'tools'):
        for path in (ROOT / folder).rglob('*'):
            if path.is_file() and '__pycache__' not in path.parts:
                assert f'rdarts/.mim/{path.relative_to(ROOT)}' in names
    sources = 'register.cpp', 'normal.cpp', 'separable.cpp', 'tensors.h', 'depthwise.h', 'vectors.h'
    for file in sources:
        assert f'rdarts/models/kernels/csrc/{file}' in names
    assert 'rdarts/genotypes/published.json' in names
    points = next(name for name in names if name.endswith('.dist-info/entry_points.txt'))
    text = zipfile.ZipFile(wheel).read(points).decode()
    assert 'rdarts = rdarts.console.main:main' in text.splitlines()
    assert not any(name.startswith(('tests/', 'docs/')) for name in names)


@pytest.mark.slow
def test_a_config_inherits_from_it_outside_of_a_clone(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / 'site')
    (tmp_path / 'mine.py').write_text(
        "_base_ = ['rdarts::search/rdarts_nb201_c10.py']\n"
        'default_hooks = dict(architect=dict(lambda_=0.5))\n'
    )
    env = dict(os.environ, PYTHONPATH=str(tmp_path / 'site'))
    done = subprocess.run(
        [sys.executable, '-c', USE], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    package, model, configs, parameters = done.stdout.splitlines()[-4:]
    assert package.startswith(str(tmp_path / 'site'))
    assert model == 'rdarts.NASBench201Supernet 0.5 5'
    assert configs == str(tmp_path / 'site' / 'rdarts' / '.mim' / 'configs')
    assert parameters == '3349342'
    done = subprocess.run(
        [sys.executable, '-m', 'rdarts', 'search', '--help'],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith('usage: rdarts search '), done.stderr
