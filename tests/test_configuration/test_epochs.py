"""One key for the length of a run, which every other epoch number follows."""

from __future__ import annotations

import inspect

import pytest
from epoch_numbers import NAMES
from helpers import TOOLS

from rdarts import registry
from rdarts.configuration.epochs import INTERVALS, OF_HOOKS, OF_SCHEDULERS, OF_WATCHERS
from rdarts.configuration.load import load_config
from rdarts.configuration.notes import notes_of
from rdarts.errors import UserError

CONFIGS = TOOLS.parent / 'configs'


def load(name, **options):
    return load_config(CONFIGS / f'{name}.py', options)


def test_r_darts_of_five_epochs_of_a_hundred():
    cfg = load('search/rdarts_nb201_c10', epochs=3)
    assert (cfg.train_cfg.max_epochs, cfg.schedule_epochs, cfg.epochs) == (3, 60, 3)
    assert (cfg.param_scheduler.T_max, cfg.param_scheduler.end) == (60, 60)
    assert notes_of(cfg)[0] == '3 epochs for the 5 of the config, its others in proportion'
    assert notes_of(cfg)[1:4] == [
        'param_scheduler.end 100 -> 60',
        'param_scheduler.T_max 100 -> 60',
        'schedule_epochs 100 -> 60',
    ]
    longer = load('search/rdarts_nb201_c10', epochs=10)
    assert (longer.train_cfg.max_epochs, longer.param_scheduler.T_max) == (10, 200)


@pytest.mark.slow
def test_epochs_in_which_alpha_rests_and_warm_up():
    cfg = load('search/rdarts_mobilenet_like_imagenet', epochs=20)
    assert (cfg.train_cfg.max_epochs, cfg.default_hooks.architect.start_epoch) == (20, 5)
    assert load('search/rdarts_mobilenet_like_imagenet', epochs=2).default_hooks.architect == dict(
        load('search/rdarts_mobilenet_like_imagenet').default_hooks.architect, start_epoch=1
    )
    cfg = load('retrain/mobilenet_like_imagenet_8x64', epochs=60)
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.end, cosine.begin, cosine.T_max, cosine.end) == (1, 1, 59, 60)
    one = load('retrain/mobilenet_like_imagenet_8x64', epochs=1)
    assert [scheduler.type for scheduler in one.param_scheduler] == ['LinearLR']
    assert 'param_scheduler without its CosineAnnealingLR' in notes_of(one)
    # PolyLR is at its minimum one epoch before its end
    cfg = load('retrain/darts_imagenet_b1024', epochs=50)
    assert [scheduler.end for scheduler in cfg.param_scheduler] == [1, 51]


def test_what_does_not_count_epochs_stays():
    before, cfg = load('retrain/darts_imagenet'), load('retrain/darts_imagenet', epochs=25)
    assert cfg.param_scheduler == before.param_scheduler  # a factor an epoch
    assert cfg.train_cfg == dict(before.train_cfg, max_epochs=25)
    assert cfg.default_hooks == before.default_hooks
    digits = load('retrain/nb201_digits', epochs=3)
    assert (digits.train_cfg.val_interval, digits.default_hooks.checkpoint.interval) == (3, 3)


def test_a_lambda_that_changes():
    cfg = load('search/rdarts_nb201_c10_ramp', epochs=10)
    assert cfg.default_hooks.architect.lambda_.points == [(0, 0.0), (9, 0.75)]
    cfg = load('search/rdarts_nb201_c10_ramp', epochs=1)
    assert cfg.default_hooks.architect.lambda_.points == [(0, 0.0), (0.8, 0.75)]


def test_what_is_reached_in_the_last_epoch_is_reached_in_the_last_of_any_length():
    def temperature(**options):
        return load('search/gdas_nb201_c10', **options).model.backbone.relaxation.temperature

    assert temperature() == dict(points=[(0, 10.0), (249, 0.1)])
    assert temperature(epochs=20).points == [(0, 10.0), (19, 0.1)]
    assert temperature(epochs=2).points == [(0, 10.0), (1, 0.1)]
    assert temperature(epochs=1).points == [(0, 10.0), (249 / 250, 0.1)]
    cfg = load('search/gdas_nb201_c10', epochs=20)
    assert 'model.backbone.relaxation.temperature 0, 249 -> 0, 19' in notes_of(cfg)


def test_epochs_that_a_watcher_waits_for():
    options = {'custom_hooks': [dict(type='rdarts.CollapseHook', window=5, delta=4)]}
    options['default_hooks.stop_rules.patience'] = 10
    cfg = load('search/darts_plus_darts_c10', epochs=20, **options)
    # options are as they are written
    assert (cfg.custom_hooks[0].window, cfg.default_hooks.stop_rules.patience) == (5, 10)


def test_files_give_watchers_epochs_too(tmp_path):
    path = tmp_path / 'my.py'
    base = str(CONFIGS / 'search' / 'darts_plus_darts_c10.py')
    path.write_text(
        f'_base_ = [{base!r}]\n'
        "custom_hooks = [dict(type='rdarts.CollapseHook', window=5, delta=4, factor=1.3)]\n"
        'default_hooks = dict(stop_rules=dict(patience=10, skips=2))\n'
        "model = dict(head=dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1)))\n"
    )
    cfg = load_config(path, dict(epochs=20))
    watcher, rules = cfg.custom_hooks[0], cfg.default_hooks.stop_rules
    assert (watcher.window, watcher.delta, watcher.factor) == (2, 2, 1.3)
    assert (rules.patience, rules.skips) == (4, 2)


KINDS = ('HOOKS', 'LOOPS', 'RELAXATIONS', 'MIXED_OPS', 'ARCHITECTS', 'REGULARIZERS', 'DISCRETIZERS')


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_called_an_epoch_follows(kind):
    """Of each component of ours, whether a config names it or not."""
    components = getattr(registry, kind)
    components.import_from_location()
    known = {*OF_HOOKS, *OF_SCHEDULERS, *INTERVALS, 'max_epochs'}
    if kind == 'HOOKS':
        known |= {*OF_WATCHERS}
    for name, component in components.module_dict.items():
        if component.__module__.startswith('rdarts.'):
            arguments = inspect.signature(component.__init__).parameters
            assert {key for key in arguments if NAMES.match(key)} <= known, name


@pytest.mark.slow
def test_numbers_beside_it_stay_as_they_are_written(tmp_path):
    options = {'epochs': 3, 'param_scheduler.T_max': 9, 'schedule_epochs': 12}
    cfg = load_config(CONFIGS / 'search' / 'rdarts_nb201_c10.py', options)
    assert (cfg.param_scheduler.T_max, cfg.param_scheduler.end) == (9, 12)
    base = tmp_path / 'base.py'
    base.write_text(
        f'_base_ = [{str(CONFIGS / "search" / "rdarts_nb201_c10.py")!r}]\n'
        'epochs = 50\n'
        'default_hooks = dict(architect=dict(start_epoch=2))\n'
    )
    cfg = load_config(base)
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler.T_max) == (50, 1000)
    assert cfg.default_hooks.architect.start_epoch == 2
    over = tmp_path / 'over.py'
    over.write_text(f'_base_ = [{str(base)!r}]\nparam_scheduler = dict(T_max=70)\n')
    cfg = load_config(over)
    assert (cfg.param_scheduler.T_max, cfg.param_scheduler.end) == (70, 1000)
    # an option of epochs is for all that the file says
    cfg = load_config(base, dict(epochs=25))
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler.T_max) == (25, 500)
    assert cfg.default_hooks.architect.start_epoch == 1


@pytest.mark.parametrize(
    'text',
    [
        'param_scheduler = dict(T_max=9, end=12)',
        'param_scheduler: dict = dict(T_max=9, end=12)',
        'param_scheduler, name = dict(T_max=9, end=12), 1',
        'param_scheduler = dict(end=4)\nparam_scheduler["T_max"] = 9\nparam_scheduler["end"] *= 3',
        'param_scheduler = dict()\nparam_scheduler.update(T_max=9)\n'
        'param_scheduler.update({"end": 12})',
        'if True:\n    param_scheduler = other = dict(T_max=9, end=12)',
    ],
)
def test_however_a_file_writes_them(text, tmp_path):
    base = str(CONFIGS / 'search' / 'rdarts_nb201_c10.py')
    path = tmp_path / 'my.py'
    path.write_text(f'_base_ = [{base!r}]\nepochs = 3\n{text}\n')
    cfg = load_config(path)
    assert (cfg.train_cfg.max_epochs, cfg.schedule_epochs) == (3, 60)
    assert (cfg.param_scheduler.T_max, cfg.param_scheduler.end) == (9, 12)


def test_a_config_that_a_run_has_written_is_not_scaled_twice(tmp_path):
    load('search/rdarts_nb201_c10', epochs=3).dump(tmp_path / 'config.py')
    cfg = load_config(tmp_path / 'config.py')
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler.T_max, cfg.epochs) == (3, 60, 3)
    cfg = load_config(tmp_path / 'config.py', dict(epochs=6))
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler.T_max) == (6, 120)


def test_a_run_with_epochs_that_goes_on_for_longer_can_be_read_again(tmp_path):
    load('search/rdarts_nb201_c10', epochs=3).dump(tmp_path / 'config.py')
    longer = load_config(tmp_path / 'config.py', {'train_cfg.max_epochs': 7})
    longer.dump(tmp_path / 'longer.py')
    cfg = load_config(tmp_path / 'longer.py')
    assert (cfg.train_cfg.max_epochs, cfg.epochs, cfg.param_scheduler.T_max) == (7, 7, 60)


def test_two_lengths_by_options():
    with pytest.raises(UserError, match=r'epochs is 3, but train_cfg\.max_epochs 4: set one'):
        load('search/rdarts_nb201_c10', **{'epochs': 3, 'train_cfg.max_epochs': 4})


@pytest.mark.parametrize('value', [0, -1, 2.5, True, 'x'])
def test_what_is_no_number_of_epochs(value):
    with pytest.raises(UserError, match='epochs must be a positive integer, but is'):
        load('search/rdarts_nb201_c10', epochs=value)


def test_two_lengths_in_one_file(tmp_path):
    path = tmp_path / 'my.py'
    base = str(CONFIGS / 'search' / 'rdarts_nb201_c10.py')
    path.write_text(f'_base_ = [{base!r}]\nepochs = 3\ntrain_cfg = dict(max_epochs=4)\n')
    with pytest.raises(UserError, match=r'epochs is 3, .* writes train_cfg\.max_epochs=4'):
        load_config(path)
