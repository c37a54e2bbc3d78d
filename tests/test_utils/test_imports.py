"""Importing modules of users: where they are looked for, and one line on what is wrong."""

from __future__ import annotations

import sys

import pytest

from rdarts.errors import UserError
from rdarts.utils.imports import folders_of, import_by_name, import_folder, importable


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder, with the path and the modules as they were once the test is over."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_folder_stays_importable_only_where_it_was_needed(folder):
    used, idle = folder / 'used', folder / 'idle'
    for place in (used, idle):
        place.mkdir()
    (used / 'own_first.py').write_text(
        'def later():\n    import own_later\n    return own_later.X\n'
    )
    (used / 'own_later.py').write_text('X = 5\n')
    before = list(sys.path)
    with importable([used, idle, folder / 'gone']):
        assert sys.path == [*before, str(used), str(idle)]
        module = import_by_name('own_first', 'config')
    assert sys.path == [*before, str(used)]
    assert module.later() == 5
    assert list(folders_of(module)) == [str(used)]


def test_what_is_installed_comes_first(folder):
    (folder / 'colorsys.py').write_text('raise SystemExit\n')
    (folder / 'a_package').mkdir()
    (folder / 'a_package' / '__init__.py').write_text('')
    (folder / 'a_package' / 'inner.py').write_text('')
    sys.modules.pop('colorsys', None)
    with importable([folder]):
        assert import_by_name('colorsys', 'config').rgb_to_hsv(0, 0, 0) == (0, 0, 0)
        inner = import_by_name('a_package.inner', 'config')
    assert list(folders_of(inner)) == [str(folder)]


@pytest.mark.parametrize(
    ('text', 'name', 'line'),
    [
        ('', 'beta_deca', "no module 'beta_deca': did you mean 'beta_decay'?"),
        ('', 'zzzzz', "no module 'zzzzz': in none of the folders that are looked in"),
        ('', 'beta_decay.gone', "no module 'beta_decay.gone': 'beta_decay' is no package"),
        ('x = = 1\n', 'beta_decay', '{}, line 1: invalid syntax'),
        ('\nimport gone_too\n', 'beta_decay', "{}, line 2: No module named 'gone_too'"),
        ('\n\nx = {}["a"]\n', 'beta_decay', "{}, line 3: KeyError: 'a'"),
    ],
)
def test_one_line_on_what_is_wrong(folder, text, name, line):
    path = folder / 'beta_decay.py'
    path.write_text(text)
    with importable([folder]), pytest.raises(UserError) as error:
        import_by_name(name, 'config my.py: custom_imports')
    assert str(error.value) == f'config my.py: custom_imports: {line.replace("{}", str(path), 1)}'


def test_a_folder_of_a_package(folder):
    package = folder / 'own_package'
    package.mkdir()
    for name in ('__init__', 'b', 'a', 'skipped'):
        (package / f'{name}.py').write_text(
            'import sys\nsys.own_order = [*getattr(sys, "own_order", ()), __name__]\n'
        )
    with importable([folder]):
        import_folder('own_package', without=['own_package.skipped'])
    order = sys.own_order
    del sys.own_order
    assert order == ['own_package', 'own_package.a', 'own_package.b']
    (package / 'c.py').write_text('1 / 0\n')
    with pytest.raises(UserError, match=r'^own_package: .*c\.py, line 1: ZeroDivisionError'):
        import_folder('own_package')
