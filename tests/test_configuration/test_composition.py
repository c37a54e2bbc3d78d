"""Search configs that nobody wrote."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

from rdarts.configuration.composition import (
    choices,
    composed,
    composed_configs,
    composition_of,
    is_config,
    overlays,
)
from rdarts.configuration.load import load_config
from rdarts.configuration.nearest_config import nearest_config
from rdarts.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SEARCH = ROOT / 'configs' / 'search'
VARIANTS = set(overlays(SEARCH, 'variants'))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the configs, to which overlays can be added."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    return tmp_path / 'configs' / 'search'


def test_what_a_config_is_composed_of():
    found = composition_of(SEARCH / 'rdarts_nb201_c10_l050_short.py')
    assert (found.base.name, found.overlay.name) == ('rdarts_nb201_c10_l050.py', 'short.py')
    found = composition_of(SEARCH / 'darts_2nd_mobilenet_like_imagenet.py')
    assert found.base.name == 'darts_mobilenet_like_imagenet.py'
    assert found.names() == [
        *('mobilenet_like', 'imagenet', 'darts_2nd', 'mobilenet_like_imagenet'),
        *('darts_2nd_mobilenet_like', 'darts_2nd_imagenet', 'darts_2nd_mobilenet_like_imagenet'),
    ]


@pytest.mark.parametrize(
    'name',
    [
        *('darts_darts_c10', 'darts_nb201_digits'),  # written
        *('rdarts_nb201_c11', 'nb201_c10', 'short', 'rdarts', 'rdarts_', '_short', 'x' * 5000),
        'rdarts_nb201_c10_short_short',
        'rdarts_darts_2nd_nb201_c10',
    ],
)
def test_what_is_not_composed(name):
    assert composition_of(SEARCH / f'{name}.py') is None
    assert composition_of(SEARCH / name) is None


def test_what_is_listed_can_be_read():
    names = {path.stem for path in composed_configs(SEARCH)}
    assert {'rdarts_darts_c10', 'darts_nb201_c10_short', 'rdarts_nb201_c10_l050_short'} <= names
    assert not names & {path.stem for path in SEARCH.glob('*.py')}
    assert all(is_config(SEARCH / f'{name}.py') for name in sorted(names)[::97])


@pytest.mark.parametrize('folder', ['retrain', 'studies', 'detection', '_base_', '../tests'])
def test_in_other_folders_nothing_is_composed(folder):
    folder = ROOT / 'configs' / folder
    assert composed_configs(folder) == [] and choices(folder) == ''
    for name in ('rdarts_nb201_c10', 'table1_sum', 'darts_c10_short'):
        assert composition_of(folder / f'{name}.py') is None


def test_a_written_file_wins(folder):
    (folder / 'rdarts_darts_c10.py').write_text(
        "_base_ = ['./darts_darts_c10.py']\ntrain_cfg = dict(max_epochs=7)\n"
    )
    assert load_config(folder / 'rdarts_darts_c10.py').train_cfg.max_epochs == 7


def test_what_differs_by_space_data_and_method(folder):
    (folder.parent / '_base_' / 'methods' / 'mine.py').write_text(
        'work_dir = None\n'
        'train_cfg = dict(max_epochs=1)\n'
        'by = dict(\n'
        '    nb201_c100=dict(train_cfg=dict(max_epochs=4)),\n'
        '    c100=dict(train_cfg=dict(max_epochs=3)),\n'
        '    nb201=dict(train_cfg=dict(max_epochs=2)),\n'
        ')\n'
    )
    lengths = {
        name: load_config(folder / f'mine_{name}.py').train_cfg.max_epochs
        for name in ('darts_c10', 'nb201_c10', 'darts_c100', 'nb201_c100')
    }
    assert lengths == dict(darts_c10=1, nb201_c10=2, darts_c100=3, nb201_c100=4)
    cfg = load_config(folder / 'mine_nb201_c10.py')
    assert 'by' not in cfg
    assert cfg.filename == str(folder / 'mine_nb201_c10.py')


@pytest.mark.parametrize(
    ('text', 'line'),
    [
        ("by = ['nb201']", 'by must be a dict of names and entries'),
        ('by = dict(nb201=3)', 'by.nb201 must be a dict of entries, but is 3'),
        (
            'by = dict(nb2o1=dict())',
            "by: 'nb2o1' is no space, data or method, nor several of them: did you mean 'nb201'?",
        ),
        (
            'by = dict(nb201_c1000=dict())',
            "by: 'nb201_c1000' is no space, data or method, nor several of them: "
            "did you mean 'nb201_c100'?",
        ),
        ("leave_out = ['s2']", "leave_out must be a dict of spaces and reasons, but is ['s2']"),
        (
            "leave_out = {'mobilenet': 'it has cells'}",
            "leave_out: 'mobilenet' is no space, data or method, nor several of them: "
            "did you mean 'mobilenet_like'?",
        ),
        ("leave_out = {'s2': 1}", 'leave_out.s2 must say why, but is 1'),
        ('over = 3', 'over must be the name of a method, but is 3'),
        (
            "keep_length = 'nb201'",
            "keep_length must be a list of names, as by has them, but is 'nb201'",
        ),
        (
            "keep_length = ['nb2o1']",
            "keep_length: 'nb2o1' is no space, data or method, nor several of them: did you mean "
            "'nb201'?",
        ),
        ("over = 'gdass'", "over: there is no method 'gdass': did you mean 'gdas'?"),
        ("over = 'mine'", 'over: mine over mine has no end'),
    ],
)
def test_what_an_overlay_says_of_itself_must_be_so(text, line, folder):
    overlay = folder.parent / '_base_' / 'methods' / 'mine.py'
    overlay.write_text(f'{text}\n')
    with pytest.raises(UserError) as error:
        load_config(folder / 'mine_nb201_c10.py')
    assert str(error.value) == f'{overlay}: {line}'


@pytest.mark.parametrize('text', ['modle = {}', 'by = dict(nb201=dict(modle={}))'])
def test_a_top_level_name_of_an_overlay_that_is_almost_known(text, folder):
    overlay = folder.parent / '_base_' / 'methods' / 'mine.py'
    overlay.write_text(text.format('dict(backbone=dict(channels=8))') + '\n')
    with pytest.raises(UserError, match="^unknown key 'modle': did you mean 'model'\\?$"):
        load_config(folder / 'mine_nb201_c10.py')


def test_a_name_in_by_that_is_like_none_is_told_what_there_is(folder):
    overlay = folder.parent / '_base_' / 'methods' / 'mine.py'
    overlay.write_text('by = dict(qqqq=dict())\n')
    with pytest.raises(UserError, match="'qqqq' is no space.*: a name is <method>_<space>_<data>"):
        load_config(folder / 'mine_nb201_c10.py')


def test_two_overlays_over_each_other(folder):
    for one, other in (('mine', 'yours'), ('yours', 'mine')):
        overlay = folder.parent / '_base_' / 'methods' / f'{one}.py'
        overlay.write_text(f'over = {other!r}\n')
    with pytest.raises(UserError, match=r'yours\.py: over: mine over yours over mine has no end$'):
        load_config(folder / 'mine_nb201_c10.py')


SAMPLES = """
_base_ = ['../default_runtime.py']
runner_type = 'rdarts.QuerySearch'
budget = 100
searched = {{_base_.model.backbone.space}}
by = dict(nb201=dict(budget=200), c100=dict(default_hooks=dict(logger=dict(interval=1))))
"""


def test_a_method_that_samples_has_the_space_and_the_data_alone(folder):
    """And what its own overlay says of how it runs, instead of a gradient's schedule and hooks."""
    (folder.parent / '_base_' / 'methods' / 'mine.py').write_text(SAMPLES)
    with composed():
        cfgs = {
            name: Config.fromfile(folder / f'mine_{name}.py', lazy_import=False)
            for name in ('nb201_c10', 's1_c100', 'mobilenet_like_c10')
        }
        whole = Config.fromfile(folder / 'darts_s1_c100.py', lazy_import=False)
        runtime = Config.fromfile(folder.parent / '_base_' / 'default_runtime.py')
    assert [cfg.budget for cfg in cfgs.values()] == [200, 100, 100]
    cfg = cfgs['s1_c100']
    assert cfg.searched == cfg.model.backbone.space == 's1'
    assert cfg.model == whole.model and cfg.train_dataloader == whole.train_dataloader
    assert cfg.val_evaluator.topk == (1, 5)
    gradient = {'optim_wrapper', 'param_scheduler', 'arch_optimizer', 'train_cfg'}
    assert not gradient & set(cfg) and gradient <= set(whole)
    assert set(cfg.default_hooks) == set(runtime.default_hooks)
    assert cfg.default_hooks.logger.interval == 1
    # what a written config says of its space itself
    assert cfgs['mobilenet_like_c10'].model.backbone.stem == 'cifar'


def test_a_method_that_samples_may_be_of_ones_own(tmp_path):
    overlay = tmp_path / '_base_' / 'methods' / 'mine.py'
    overlay.parent.mkdir(parents=True)
    overlay.write_text("_base_ = ['rdarts::_base_/default_runtime.py']\n")
    with composed():
        cfg = Config.fromfile(tmp_path / 'search' / 'mine_nb201_c10.py', lazy_import=False)
    assert cfg.model.backbone.space == 'nas_bench_201'
    assert 'train_cfg' not in cfg and 'architect' not in cfg.default_hooks


def test_overlays_of_ones_own_need_no_other_file(tmp_path):
    overlay = tmp_path / '_base_' / 'methods' / 'mine.py'
    overlay.parent.mkdir(parents=True)
    overlay.write_text(
        'by = dict(nb201=dict(train_cfg=dict(max_epochs=7)))\n'
        'by["c100"] = dict(train_cfg=dict(max_epochs=8))'
    )
    (tmp_path / '_base_' / 'variants').mkdir()
    (tmp_path / '_base_' / 'variants' / 'slow.py').write_text('arch_optimizer = dict(lr=1e-5)')
    search = tmp_path / 'search'
    cfg = load_config(search / 'mine_nb201_c10_slow_short.py')
    assert (cfg.train_cfg.max_epochs, cfg.schedule_epochs, cfg.arch_optimizer.lr) == (7, 7, 1e-5)
    assert load_config(search / 'mine_nb201_c100.py').train_cfg.max_epochs == 8
    assert load_config(search / 'rdarts_nb201_c10_slow.py').train_cfg.max_epochs == 5
    assert not is_config(search / 'darts_nb201_c10.py')
    listed = composed_configs(search)
    assert search / 'mine_s1_c10.py' in listed and all(is_config(path) for path in listed[::97])
    with pytest.raises(UserError, match=r"did you mean '.*mine_nb201_c10\.py'"):
        load_config(search / 'mine_nb201_c1.py')


@pytest.mark.parametrize('base', ['rdarts::search/', f'{SEARCH}/', 'configs/search/'])
def test_a_users_config_inherits_one(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if base.startswith('configs'):
        (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    Path('mine.py').write_text(
        f"_base_ = ['{base}rdarts_nb201_c10_l050_short.py']\n"
        'default_hooks = dict(architect=dict(lambda_=0.25))\n'
    )
    cfg = load_config('mine.py')
    assert cfg.default_hooks.architect.lambda_ == 0.25
    assert (cfg.train_cfg.max_epochs, cfg.schedule_epochs, cfg.param_scheduler.T_max) == (15,) * 3


def test_epochs_of_a_user_are_over_the_composed_ones(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = ['{SEARCH}/rdarts_nb201_c10.py']\nepochs = 3\n")
    cfg = load_config(path)
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler.T_max) == (3, 60)


def test_mmengine_is_as_before():
    before = Config._file2dict, Config._get_cfg_path
    load_config(SEARCH / 'rdarts_darts_c10.py')
    with pytest.raises(UserError):
        load_config(SEARCH / 'rdarts_darts_c11.py')
    assert (Config._file2dict, Config._get_cfg_path) == before


def test_a_mistyped_name_may_mean_a_composed_one(monkeypatch):
    monkeypatch.chdir(ROOT)
    path = 'configs/search/rdarts_nb201_c10_l050.py'
    assert nearest_config(path.replace('l050', 'l05')) == f"did you mean '{path}'?"


@pytest.mark.parametrize('name', ['gdas_nb201_imagenet', 'darts_2nd_nb201_imagenet_short'])
def test_a_space_that_is_not_on_the_data(name):
    with pytest.raises(UserError, match=f'{name}.py: there is no nb201 on imagenet, but on c10, '):
        load_config(SEARCH / f'{name}.py')


def test_a_name_without_a_space_is_not_said_to_be_on_other_data():
    with pytest.raises(UserError, match='darts_digits') as error:
        load_config(ROOT / 'configs' / 'retrain' / 'darts_digits.py')
    assert 'there is no  on' not in str(error.value)


def test_a_name_that_is_like_none_is_told_what_names_are_made_of(monkeypatch):
    monkeypatch.chdir(ROOT)
    overlays = (ROOT / 'configs' / '_base_' / 'methods').glob('*.py')
    names = ', '.join(sorted(['darts', *(path.stem for path in overlays)]))
    assert 'beta_darts, darts, darts_2nd, ' in names
    assert nearest_config('configs/search/qqq.py') == (
        f'a name is <method>_<space>_<data>[_<variant>]: methods {names}; '
        'spaces darts, mobilenet_like, nb201, s1, s2, s3, s4; '
        'data c10, c100, digits, imagenet, in16; '
        'variants alr3e-3, eq12, l050, ramp, rest2, short, sum'
    )


@functools.cache
def names_of_configs() -> set[str]:
    paths = [path for path in composed_configs(SEARCH) if is_plain(path.stem)]
    paths += [SEARCH / f'{path.stem}_short.py' for path in SEARCH.glob('darts_*.py')]
    return {name for path in paths for name in composition_of(path).names()}


def is_plain(name: str) -> bool:
    return name.rpartition('_')[2] not in VARIANTS


@pytest.mark.parametrize('kind', ['methods', 'variants'])
def test_overlays_name_what_there_is(kind, folder):
    """A name in ``by`` that means nothing would change nothing, in silence."""
    known = names_of_configs()
    for name in overlays(SEARCH, kind):
        path = folder.parent / '_base_' / kind / f'{name}.py'
        path.write_text(f"_base_ = ['{SEARCH}/darts_nb201_c10.py']\n{path.read_text()}")
        assert set(Config.fromfile(path).get('by', {})) <= known
