"""Searches that are killed within a step, whatever takes alpha's gradient, and on two ranks."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from helpers import run_tool, write_small_search
from same_runs import assert_same_run
from test_tools.test_distributed import train_on_two

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.load import load_config
from rdarts.registry import ARCHITECTS, HOOKS

# of each architect a method that searches by it, and those that go their own way in time
METHODS = dict(
    darts='FirstOrder',
    darts_2nd='Unrolled',
    fbnet='FirstOrder',
    idarts='Neumann',
    is_darts='ImportanceShrinking',
    lambda_darts='LayerAlignment',
    nasi='NTKTrace',
    oles='OperationEarlyStopping',
    proxylessnas='SampledPaths',
    proxylessnas_rl='Reinforce',
    sdarts_adv='AdversarialMixing',
    snas='SingleLevel',
)
TRAIN_NO_WEIGHTS = ('nasi',)
STEP_NO_ALPHA = ('is_darts',)
SHRINKS = 'default_hooks.architect.architect.shrink_epochs=[1, 2]'  # within two epochs
SMALL = dict(images=32, batch_size=8)  # two iterations an epoch, four of a single level
EPOCHS = ('train_cfg.max_epochs=2', 'default_hooks.checkpoint.iter_interval=1')


def architect_of(config: Path) -> tuple[str, list[str]]:
    """Its name, and the options with which alpha moves in two iterations of four."""
    cfg = load_config(config)
    spec = cfg.default_hooks.architect
    often = ['default_hooks.architect.every=2'] if spec.get('every', 1) > 1 else []
    architect = HOOKS.build(spec).architect
    shrinks = [SHRINKS] if architect.passes(cfg.train_cfg.max_epochs) else []
    return type(architect).__name__, ['--cfg-options', *EPOCHS, *often, *shrinks]


def test_every_architect_is_among_them():
    ARCHITECTS.import_from_location()
    found = ARCHITECTS.module_dict.items()
    ours = {name for name, kind in found if kind.__module__.startswith('rdarts.')}
    assert set(METHODS.values()) == ours - {'PathTraining'}  # that of methods in phases


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS)
def test_killed_in_each_step_and_while_a_checkpoint_is_written(method, tmp_path):
    small: dict[str, Any] = dict(method=method, **SMALL)
    config = write_small_search(tmp_path, **small)
    found, options = architect_of(config)
    assert found == METHODS[method]
    reference, work_dir = tmp_path / 'reference', tmp_path / 'run'
    done = run_tool(['train.py', config, '--work-dir', reference, *options])
    assert done.code == 0, done.err
    first = 4 if method == 'fbnet' else 2  # whose alpha moves at the end of an epoch of three
    for number, event in enumerate(('alpha', 'weights', 'writing'), first):
        if method in dict(weights=TRAIN_NO_WEIGHTS, alpha=STEP_NO_ALPHA).get(event, ()):
            continue
        (tmp_path / event).mkdir()
        kill = dict(type='SignalAt', event=event, number=number)
        kills = write_small_search(tmp_path / event, kill, **small)
        killed = run_tool(['train.py', kills, '--work-dir', work_dir, '--resume', *options])
        assert killed.code == -signal.SIGKILL, (event, killed.err)
        saved = {int(path.stem.split('_')[-1]) for path in work_dir.glob('*.pth')}
        assert max(saved) == number - 1, event
        assert (work_dir / f'.iter_{number}.pth.tmp').exists() == (event == 'writing')
    resumed = run_tool(['train.py', config, '--work-dir', work_dir, '--resume', *options])
    assert resumed.code == 0, resumed.err
    assert_same_run(work_dir, reference, Path((reference / 'last_checkpoint').read_text()).name)


# whose candidates are pruned when the second epoch begins, after four iterations
PRUNES = ('default_hooks.early_fix.threshold=.05', 'arch_optimizer.lr=.2')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'iteration', 'more'), [('darts', 3, ()), ('gdas', 3, ()), ('dsnas', 6, PRUNES)]
)
def test_killed_on_two_ranks(method, iteration, more, tmp_path):
    """In alpha's step; what is not drawn has no gradient, what is pruned stays so."""
    small: dict[str, Any] = dict(method=method, images=64, batch_size=8)
    config = write_small_search(tmp_path, **small)
    options = [*architect_of(config)[1], *more]
    reference, work_dir = tmp_path / 'reference', tmp_path / 'run'
    for done in train_on_two(config, reference, *options):
        assert done.code == 0, done.err
    (tmp_path / 'kill').mkdir()
    kill = dict(type='SignalAt', event='alpha', number=iteration)
    kills = write_small_search(tmp_path / 'kill', kill, **small)
    killed = train_on_two(kills, work_dir, *options)
    assert [done.code for done in killed] == [-signal.SIGKILL] * 2
    for done in train_on_two(config, work_dir, '--resume', *options):
        assert done.code == 0, done.err
    last = Path((reference / 'last_checkpoint').read_text()).name
    assert_same_run(work_dir, reference, last)
    masks = [key for key in read_checkpoint(work_dir / last)['state_dict'] if 'alive' in key]
    assert bool(masks) == bool(more)
