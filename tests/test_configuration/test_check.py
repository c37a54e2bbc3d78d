"""Every key of every shipped config, set to what it cannot hold: one line each, none silent."""

from __future__ import annotations

import importlib.util
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt
from mmengine.config import Config
from mmengine.hooks import Hook

from rdarts.configuration import check as check_module
from rdarts.configuration.check import check_config
from rdarts.configuration.composition import composed
from rdarts.configuration.declarations import describe, fits, marks_of, members
from rdarts.configuration.filling import fill_in
from rdarts.configuration.load import _drop_scope, load_config
from rdarts.configuration.signatures import Argument
from rdarts.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
DETECTION = all(importlib.util.find_spec(name) is not None for name in ('mmdet', 'mmcv._ext'))
FOLDERS = ('search', 'retrain', *(['detection'] if DETECTION else []))
NAN, INFINITE = float('nan'), float('inf')


def plain_configs(folder: str) -> dict[str, dict[str, Any]]:
    """Configs as they are checked, without the networks that loading one builds."""
    found = {}
    for path in sorted((CONFIGS / folder).glob('*.py')):
        with composed():  # a base may be a config that nobody wrote
            cfg = Config.fromfile(path)
        _drop_scope(cfg._cfg_dict)
        fill_in(cfg)
        found[f'{folder}/{path.stem}'] = cfg.to_dict()
    return found


class Recorder(check_module._Checker):
    """Notes the declaration of each key that it passes, and how to reach the key."""

    def run(self) -> None:
        self.seen: dict[tuple[str, str], tuple[str, Argument]] = {}
        super().run()

    def argument(self, value: Any, path: str, argument: Argument, registry: str) -> None:
        section, _, key = path.rpartition('.')
        owner = self.owner(section)
        self.seen.setdefault((owner, key), (path, argument))
        super().argument(value, path, argument, registry)

    def owner(self, section: str) -> str:
        """What a section's keys belong to: its type, or its own path."""
        value: Any = self.cfg
        for part in section.split('.') if section else ():
            value = value[int(part) if isinstance(value, (list, tuple)) else part]
        return str(value.get('type', section)) if section and isinstance(value, dict) else section


def every_key(configs: dict[str, dict[str, Any]]) -> dict[tuple[str, str], tuple[dict, str, Any]]:
    """Each (component, key) of some configs once: a config, the key's path and its declaration."""
    found: dict[tuple[str, str], tuple[dict, str, Any]] = {}
    for cfg in configs.values():
        recorder = Recorder(cfg)
        recorder.run()
        assert not recorder.faults
        for key, (path, argument) in recorder.seen.items():
            found.setdefault(key, (cfg, path, argument))
    return found


def changed(cfg: Any, path: str, value: Any, name: str | None = None) -> Any:
    """A config with another value at a path, or with its value under another name.

    What is not on the path is the given config's own.
    """

    part, _, rest = path.partition('.')
    if isinstance(cfg, (list, tuple)):
        items = list(cfg)
        items[int(part)] = changed(items[int(part)], rest, value, name) if rest else value
        return type(cfg)(items)
    found = dict(cfg)
    if rest:
        found[part] = changed(found[part], rest, value, name)
    elif name is not None:
        found[name] = found.pop(part)
    else:
        found[part] = value
    return found


def plain_kinds(kind: Any) -> set[str]:
    """The kinds of data that a declaration takes, read here from the declaration alone."""
    kinds = set()
    for one in members(kind):
        base = typing.get_args(one)[0] if hasattr(one, '__metadata__') else one
        origin = typing.get_origin(base) or base
        if base is Any or isinstance(base, typing.TypeVar):
            return {'any'}
        if origin is typing.Literal:
            kinds |= {type(value).__name__ for value in typing.get_args(base)}
        elif typing.is_typeddict(base):
            kinds.add('dict')
        elif origin in (str, int, float, bool):
            kinds |= {'int', 'float'} if origin is float else {origin.__name__}
        elif base is type(None) or base is None:
            kinds.add('NoneType')
        elif issubclass(origin, typing.get_origin(typing.Mapping)):
            kinds.add('dict')
        elif issubclass(origin, (list, tuple, typing.get_origin(typing.Sequence))):
            kinds.add('list')
        elif origin.__module__ not in ('os', 'pathlib'):
            kinds.add('object')
    return kinds


WRONG_TYPES = dict(
    str='wrong',
    int=7,
    float=7.5,
    bool=True,
    list=[{'wrong': 1}],
    dict={'wrong_key': 1},
    NoneType=None,
)


def is_signed(kind: Any, value: Any) -> bool:
    """Whether a declaration says that a number of the other sign is right too."""
    if typing.get_origin(kind) is typing.Literal:
        return value in typing.get_args(kind)
    least = [getattr(m, 'ge', getattr(m, 'gt', None)) for m in marks_of(kind)]
    return not any(isinstance(one, (int, float)) and one > value for one in least)


def wrong_values(argument: Argument, value: Any) -> Iterator[tuple[str, Any]]:
    """What a key cannot hold, by its declaration."""
    kinds = plain_kinds(argument.kind)
    if 'any' in kinds:
        return
    for name, wrong in WRONG_TYPES.items():
        optional = wrong is None and argument.default is None
        if name not in kinds and not optional:
            yield f'type {name}', wrong
    if kinds & {'int', 'float'}:
        yield 'nan', NAN
        yield 'infinite', INFINITE
        number = [m for m in members(argument.kind) if plain_kinds(m) & {'int', 'float'}]
        for sign in (-7, -7.5):
            if not any(is_signed(one, sign) for one in number):
                yield 'sign', sign
    if 'str' in kinds and not fits('', argument.kind):
        yield 'empty text', ''
    if 'list' in kinds and not fits([], argument.kind) and argument.default not in ([], ()):
        yield 'empty list', []


def one_line(cfg: dict[str, Any]) -> str:
    with pytest.raises(UserError) as error:
        check_config(cfg)
    line = str(error.value)
    assert len(line.splitlines()) == 1
    return line


class OwnHook(Hook):
    """As a user writes one, without annotations."""

    def __init__(self, alpha=0.5, name='a', sizes=(1,), part=None, **kwargs):
        self.kwargs = kwargs


@pytest.fixture(scope='module')
def configs():
    return {k: v for folder in FOLDERS for k, v in plain_configs(folder).items()}


@pytest.fixture(scope='module')
def keys(configs):
    return every_key(configs)


def check_values(keys) -> int:
    tried = 0
    for (owner, key), (cfg, path, argument) in keys.items():
        inner: Any = cfg
        for part in path.split('.'):
            inner = inner[int(part) if isinstance(inner, (list, tuple)) else part]
        for name, wrong in wrong_values(argument, inner):
            tried += 1
            try:
                line = one_line(changed(cfg, path, wrong))
            except pytest.fail.Exception:
                pytest.fail(f'{owner} {path} = {wrong!r} ({name}) is taken: {argument}')
            assert path in line or key in line, (path, wrong, line)
    return tried


def check_names(keys) -> int:
    tried = 0
    for (owner, key), (cfg, path, _) in keys.items():
        if '.' not in path or path.split('.')[-1].isdigit():
            continue  # a name at the top of a config is anybody's
        for near in (key + 'x', key[:-1] if len(key) > 3 else key * 2):
            tried += 1
            line = one_line(changed(cfg, path, None, near))
            if owner == 'default_hooks':
                continue
            assert f"'{near}'" in line or f'{path} is missing' in line, (path, near, line)
            if f"takes no '{near}'" in line:
                assert key in line.partition(f"takes no '{near}'")[2], (path, near, line)
    return tried


def test_no_shipped_config_is_refused(configs):
    assert len(configs) > (40 if DETECTION else 30)
    for cfg in configs.values():
        check_config(cfg)


def test_every_number_of_a_config_has_a_declared_range(keys):
    """A sign that may be either is written as a float without a range, on purpose."""
    factors = ('rdarts.BERArchitectHook', 'rdarts.BatchEntropyDecay')
    either = {
        *((owner, 'lambda_') for owner in factors),
        ('default_hooks.architect.lambda_', 'points'),
    }
    for (owner, key), (_, path, argument) in keys.items():
        kinds = plain_kinds(argument.kind)
        if kinds & {'int', 'float'} and (owner, key) not in either:
            ranges = [m for m in marks_of(argument.kind) if isinstance(m, (Ge, Gt, Le, Lt))]
            literal = any('Literal' in str(m) for m in members(argument.kind))
            assert ranges or literal, (owner, path, describe(argument.kind))


SGD = dict(type='SGD', lr=0.0)
TAKEN = {
    'optim_wrapper': [
        dict(optimizer=SGD, clip_grad=dict(max_norm=1, norm_type=INFINITE)),
        dict(optimizer=SGD, clip_grad=dict(max_norm=1.0, norm_type='inf')),
        dict(type='AmpOptimWrapper', optimizer=SGD, loss_scale=512),
        dict(type='AmpOptimWrapper', optimizer=SGD, loss_scale=dict(init_scale=2.0)),
        dict(optimizer=dict(type='AdamW', lr=1e-3, betas=[0.9, 0.95], amsgrad=True)),
    ],
    'param_scheduler': [
        dict(type='OneCycleLR', eta_max=0.1, total_steps=50),
        [dict(type='LinearLR', end=5), dict(type='PolyLR', begin=5, end=10)],
        dict(first=[dict(type='StepLR', step_size=3)], second=dict(type='ConstantLR')),
        None,
    ],
    'train_cfg': [dict(by_epoch=False, max_iters=100, val_interval=50)],
    'compile': [True, None, dict(mode='default')],
    'model_wrapper_cfg': [dict(type='MMDistributedDataParallel', find_unused_parameters=True)],
    'custom_hooks': [
        [dict(type='EMAHook', momentum=4e-5, priority='ABOVE_NORMAL')],
        [dict(type='ProfilerHook', on_trace_ready=dict(type='log_trace'))],
        [
            dict(
                type='SwitchRecipeHook',
                schedule=[dict(action_epoch=3, train_augments=dict(type='Mixup', alpha=0.8))],
            )
        ],
        # a user's own
        [dict(type=OwnHook, alpha='x', name=None, sizes=7, part=dict(type='linear'), other=1)],
    ],
    'model.train_cfg': [dict(augments=[dict(type='CutMix', alpha=1.0)], probs=[1.0])],
    'model.backbone.init_cfg': [[dict(type='Constant', val=1, layer='BatchNorm2d')]],
    'model': [dict(type='TimmClassifier', model_name='resnet18', num_classes=10)],
    'train_dataloader.dataset': [
        dict(type='CIFAR10', data_root='data', split='train', pipeline=[]),
        dict(type='CustomDataset', data_prefix='data', pipeline=[]),
        dict(
            type='KFoldDataset',
            num_splits=5,
            dataset=dict(type='CIFAR10', data_root='data', pipeline=[]),
        ),
    ],
    'train_dataloader.dataset.dataset.pipeline': [
        [dict(type='RandAugment', policies='timm_increasing', num_policies=2, magnitude_level=9)],
        [
            dict(
                type='RandAugment',
                policies=[dict(type='Rotate', magnitude_key='angle', magnitude_range=(0, 30))],
                num_policies=1,
                magnitude_level=9,
            )
        ],
        [dict(type='Albumentations', transforms=[dict(type='RandomCrop', height=4, width=4)])],
    ],
}


@pytest.mark.parametrize(('path', 'value'), [(k, v) for k, some in TAKEN.items() for v in some])
def test_what_frameworks_and_users_take_is_not_refused(path, value, configs):
    check_config(changed(configs['search/darts_nb201_digits'], path, value))


def test_a_name_that_is_no_component_is_refused_where_it_is_almost_one(configs):
    cfg = configs['search/darts_nb201_digits']
    line = one_line(changed(cfg, 'model.head.loss.type', 'CrossEntropyLos'))
    assert "did you mean 'CrossEntropyLoss'?" in line


def test_a_name_of_checkpoints_would_change_nothing(configs):
    cfg = configs['search/darts_nb201_digits']
    line = one_line(changed(cfg, 'default_hooks.checkpoint.filename_tmpl', 'epoch_{}.pth'))
    assert 'default_hooks.checkpoint.filename_tmpl' in line


def test_image_size_of_detection_is_a_name_of_its_own():
    check_config(dict(default_scope='mmdet', image_size=(1024, 1024), num_classes='x'))
    with pytest.raises(UserError, match='image_size must be a whole number of at least 4'):
        check_config(dict(default_scope='mmpretrain', image_size=(1024, 1024)))


def load_text(folder: Path, text: str) -> Config:
    path = folder / 'own.py'
    base = CONFIGS / 'search' / 'rdarts_nb201_digits.py'
    path.write_text(f"_base_ = [r'{base}']\n{text}\n")
    return load_config(path)


@pytest.mark.parametrize(
    ('text', 'line'),
    [
        ('train_cfgs = dict(max_epochs=3)', "unknown key 'train_cfgs': did you mean 'train_cfg'?"),
        ('defualt_hooks = dict(timer=None)', "did you mean 'default_hooks'?"),
        ('custom_hook = []', "did you mean 'custom_hooks'?"),
        ('modle = dict()', "unknown key 'modle': did you mean 'model'?"),
        ('num_class = 3', "did you mean 'num_classes'?"),
    ],
)
def test_top_level_names_that_are_almost_known(text, line, tmp_path):
    with pytest.raises(UserError) as error:
        load_text(tmp_path, text)
    assert line in str(error.value)


@pytest.mark.parametrize(
    'text',
    [
        'tta_model = dict(type="AverageClsScoreTTA")\nbase_lr = 0.1\nmodel_2 = dict()',
        'num_class = 10\nmodel = dict(head=dict(num_classes=num_class))',
    ],
)
def test_top_level_names_of_a_users_own(text, tmp_path):
    load_text(tmp_path, text)


@pytest.mark.slow
def test_wrong_values_of_every_key(keys):
    assert check_values(keys) > 500


@pytest.mark.slow
def test_near_misses_of_every_name(keys):
    assert check_names(keys) > 200
