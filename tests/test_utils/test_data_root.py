from __future__ import annotations

import pytest

from rdarts.errors import UserError
from rdarts.utils.data_root import resolve_data_root


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    (tmp_path / 'cwd').mkdir()
    monkeypatch.chdir(tmp_path / 'cwd')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('RDARTS_DATA', str(tmp_path / 'store'))
    return tmp_path


def make(*parts):
    folder = parts[0].joinpath(*parts[1:])
    folder.mkdir(parents=True)
    return folder


def test_a_given_folder_is_taken(workplace):
    make(workplace, 'store', 'cifar10')
    own = make(workplace, 'home', 'own')
    assert resolve_data_root(own, 'cifar10') == own
    assert resolve_data_root('~/own', 'cifar10') == own


def test_the_environment_comes_before_the_working_directory(workplace, monkeypatch):
    local = make(workplace, 'cwd', 'data', 'cifar10')
    assert resolve_data_root(None, 'cifar10') == local
    store = make(workplace, 'store', 'cifar10')
    assert resolve_data_root(None, 'cifar10') == store
    monkeypatch.delenv('RDARTS_DATA')
    assert resolve_data_root(None, 'cifar10') == local


def test_a_missing_folder_names_the_places(workplace):
    with pytest.raises(UserError) as error:
        resolve_data_root(None, 'cifar10')
    text = str(error.value)
    assert str(workplace / 'store' / 'cifar10') in text
    assert str(workplace / 'cwd' / 'data' / 'cifar10') in text
    assert 'RDARTS_DATA' in text and 'data_root' in text and '\n' not in text
    with pytest.raises(UserError, match='nowhere'):
        resolve_data_root(workplace / 'nowhere', 'cifar10')
