"""Modules of one's own that a config names are found without a path that is set for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rdarts.configuration.load import load_config
from rdarts.errors import UserError
from rdarts.registry import REGULARIZERS

ROOT = Path(__file__).resolve().parents[2]
MODULE = """
from rdarts.architect.regularizers import Regularizer
from rdarts.registry import REGULARIZERS

@REGULARIZERS.register_module(force=True)
class OwnTerm(Regularizer):
    def __call__(self, arch_parameters, space):
        return sum(alpha.sum() for alpha in arch_parameters.values())
"""
CONFIG = """
_base_ = [{base!r}]
custom_imports = dict(imports=[{name!r}])
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty working directory, which no path names."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith('own_term'):
            del sys.modules[name]
    REGULARIZERS.module_dict.pop('OwnTerm', None)


def write(folder, name='own_term', base=ROOT / 'configs/search/rdarts_nb201_digits.py'):
    folder.mkdir(exist_ok=True)
    path = folder / 'my.py'
    path.write_text(CONFIG.format(base=str(base), name=name))
    return path


def module_in(folder, name='own_term'):
    folder.mkdir(exist_ok=True)
    (folder / f'{name}.py').write_text(MODULE)
    return str(folder)


def test_beside_the_config_in_the_working_directory_and_beside_a_base(project):
    beside = module_in(project / 'beside', 'own_term_beside')
    cfg = load_config(write(project / 'beside', 'own_term_beside'))
    assert 'OwnTerm' in REGULARIZERS.module_dict
    assert cfg.import_from == [beside]

    module_in(project / 'here', 'own_term_here')
    cfg = load_config(write(project / 'config', 'own_term_here'))
    assert 'own_term_here' in sys.modules and 'import_from' not in cfg

    based = module_in(project / 'bases', 'own_term_base')
    base = write(project / 'bases', 'own_term_base')
    over = project / 'over.py'
    over.write_text(f'_base_ = [{str(base)!r}]\n')
    assert load_config(over).import_from == [based]


def test_a_runs_own_copy_of_the_config_finds_them_again(project):
    folder = module_in(project / 'beside')
    load_config(write(project / 'beside')).dump(project / 'here' / 'config.py')
    sys.path.remove(folder)
    del sys.modules['own_term']
    cfg = load_config('config.py')
    assert cfg.import_from == [folder] and sys.modules['own_term'].__file__.startswith(folder)


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        (
            "dict(imports=['own_ter'])",
            "custom_imports: no module 'own_ter': did you mean 'own_term'",
        ),
        ("['own_term']", r"custom_imports must be like dict\(imports=\['my_module'\]\), but is"),
        ('dict(imports=[5])', 'custom_imports must be like'),
        ("dict(import_=['own_term'])", 'custom_imports must be like'),
        ("dict(imports=['own_term'])\nimport_from = 5", 'import_from must be a list of folders'),
    ],
)
def test_what_cannot_be_imported(project, entry, message):
    module_in(project / 'here')
    Path('my.py').write_text(f'custom_imports = {entry}\n')
    with pytest.raises(UserError, match=f'^config my.py: {message}'):
        load_config('my.py')


def test_what_may_fail(project):
    Path('my.py').write_text("custom_imports = dict(imports='gone', allow_failed_imports=True)\n")
    with pytest.warns(UserWarning, match="no module 'gone'.*it may fail, says the config"):
        load_config('my.py')


def test_one_process_takes_one_module_of_a_name(project):
    for name in ('first', 'second'):
        module_in(project / name, 'own_term_twice')
    first, second = (write(project / name, 'own_term_twice') for name in ('first', 'second'))
    load_config(first)
    load_config(first)
    with pytest.raises(UserError) as error:
        load_config(second)
    line = str(error.value)
    assert f"{second}: custom_imports: this process has imported another 'own_term_twice'" in line
    assert f'{project}/first/own_term_twice.py, and not that of {project}/second: rename' in line
    # what a run has written of the first finds the first
    config = project / 'run.py'
    load_config(first).dump(config)
    assert load_config(config).import_from == [str(project / 'first')]
