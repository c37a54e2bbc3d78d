"""``rdarts configs``: what names are made of, and configs by words of their names."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers import TOOLS

from rdarts.configuration.composition import is_config, methods, overlays, spaces_and_data
from rdarts.configuration.config_names import config_path, find_config
from rdarts.configuration.load import load_config
from rdarts.console.config_list import overview, parts_of_names, with_words
from rdarts.errors import UserError

ROOT = TOOLS.parent
SEARCH = ROOT / 'configs' / 'search'


@pytest.fixture(autouse=True)
def in_the_clone(monkeypatch):
    monkeypatch.chdir(ROOT)


def sections(lines):
    """Title -> name -> text."""
    found, title = {}, None
    for line in lines:
        if line.startswith('  '):
            name, _, text = line.strip().partition(' ')
            found[title][name] = text.strip()
        elif line:
            title = line
            found[title] = {}
    return found


def test_everything_that_there_is_has_a_line():
    found = sections(overview())
    assert all(text for names in found.values() for text in names.values())
    names, spaces, data, variants, *others = (list(found[title]) for title in found)
    assert names == methods(SEARCH)
    pairs = spaces_and_data(SEARCH)
    assert spaces == sorted({space for space, _ in pairs})
    assert data == sorted({one for _, one in pairs})
    assert variants == sorted(overlays(SEARCH, 'variants'))
    for title, written in zip(list(found)[4:], others, strict=True):
        assert written == sorted(path.stem for path in ROOT.glob(f'{title[:-1]}/*.py'))
    assert parts_of_names() == sorted({*names, *spaces, *data, *variants})


def test_it_says_what_the_files_say():
    found = sections(overview())
    titles = list(found)
    assert found[titles[0]]['naswot'] == (
        'NASWOT (Mellor et al. 2021): the codes of the ReLUs over 128 images.'
    )
    assert found['spaces:']['s3'] == 'S2 and none. On c10, c100.'
    assert found['data:']['c100'].startswith('CIFAR-100: half of the training images')


def test_words_choose_configs():
    found = sections(with_words(['nb201', 'digits']))
    assert list(found) == ['configs/search:', 'configs/retrain:']
    assert list(found['configs/retrain:']) == ['nb201_digits']
    searches = found['configs/search:']
    assert {'darts_nb201_digits', 'pc_darts_nb201_digits', 'zico_nb201_digits'} <= set(searches)
    assert all(name.endswith('_nb201_digits') for name in searches)
    assert all(is_config(SEARCH / f'{name}.py') for name in searches)
    # a variant, and a method of two words
    varied = sections(with_words(['beta_darts', 's1', 'c10', 'short']))
    assert list(varied['configs/search:']) == ['beta_darts_s1_c10_short']


@pytest.mark.parametrize(
    ('words', 'line'),
    [
        (['nb20'], "no config has 'nb20' in its name: did you mean 'nb201'?"),
        (['gdas', 'coco'], 'no config has all of gdas, coco in its name'),
    ],
)
def test_words_of_no_config(words, line):
    with pytest.raises(UserError) as error:
        with_words(words)
    assert str(error.value) == line


def test_the_tool_prints_it_without_torch():
    code = (
        f'import sys; sys.argv = ["configs", "zico", "s1"]\n'
        f'import runpy; runpy.run_path({str(TOOLS / "configs.py")!r})["main"]()\n'
        'print("torch" in sys.modules)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == 'False', done.stderr
    assert lines[:-1] == with_words(['zico', 's1'])[:-1]


def test_the_overview_imports_no_torch():
    code = (
        'import sys; from rdarts.console.config_list import overview; overview(); '
        'print("torch" in sys.modules)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout == 'False\n', done.stderr


# A config by its name


def test_a_config_is_found_by_its_name(tmp_path, monkeypatch):
    assert config_path('gdas_nb201_c10') == 'configs/search/gdas_nb201_c10.py'
    assert config_path('nb201_digits') == 'configs/retrain/nb201_digits.py'
    assert find_config('configs/search/gdas_nb201_c10.py') == 'configs/search/gdas_nb201_c10.py'
    monkeypatch.chdir(tmp_path)  # outside of a clone: those that came with rdarts
    path = find_config('gdas_nb201_c10')
    assert path.endswith('/configs/search/gdas_nb201_c10.py')
    assert load_config('gdas_nb201_c10').filename == path
    # a folder of one's own comes first, and a file before a name
    own = tmp_path / 'configs' / 'search'
    own.mkdir(parents=True)
    (own / 'gdas_nb201_c10.py').touch()
    assert config_path('gdas_nb201_c10') == 'configs/search/gdas_nb201_c10.py'
    (tmp_path / 'gdas_nb201_c10').touch()
    assert config_path('gdas_nb201_c10') == 'gdas_nb201_c10'


@pytest.mark.parametrize('name', ['gdas_nb201_c1', 'gdas_nb201_c10.py', 'search/gdas_nb201_c10'])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(UserError, match='config not found: .* did you mean'):
        find_config(name)
