"""A run that is resumed with another config: what is said of it, and what is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import digits_runner

from rdarts.errors import UserError

LAMBDA = 'default_hooks.architect.lambda_'
CHANGED = 'changed since the last start: '


def said(runner):
    """What a start says of changes, which its log has."""
    text = ''.join(path.read_text() for path in Path(runner._log_dir).glob('*.log'))
    assert all(line in text for line in runner.changed)
    return [line.split(CHANGED)[1] for line in runner.changed if CHANGED in line]


def start(folder, resume=True, runner_type=None, **options):
    return digits_runner(folder, options, resume=resume, runner_type=runner_type)


def stored(folder):
    config = json.loads((folder / 'config.json').read_text())
    architect = config['default_hooks']['architect']
    return architect['lambda_'], config['resume'], config['load_from']


@pytest.mark.slow
def test_what_changed_is_named_before_it_goes_on_and_stored_then(tmp_path):
    start(tmp_path, resume=False).train()
    assert stored(tmp_path) == (0.75, False, None)
    files = [(tmp_path / name).read_bytes() for name in ('config.json', 'config.py')]
    runner = start(tmp_path, **{LAMBDA: 0.5})
    assert said(runner) == [f'{LAMBDA} 0.75 -> 0.5']
    # nothing has gone on yet
    assert [(tmp_path / name).read_bytes() for name in ('config.json', 'config.py')] == files
    runner.train()
    assert stored(tmp_path) == (0.5, False, None)
    assert 'lambda_=0.5' in (tmp_path / 'config.py').read_text().replace(' ', '')
    assert said(start(tmp_path, **{LAMBDA: 0.5})) == []
    assert said(start(tmp_path)) == [f'{LAMBDA} 0.5 -> 0.75']


@pytest.mark.slow
def test_rates_and_schedules_that_changed_have_no_effect_and_that_is_said(tmp_path):
    start(tmp_path, resume=False).train()
    options = {
        'optim_wrapper.optimizer.lr': 0.5,
        'param_scheduler.T_max': 7,
        'arch_optimizer.lr': 0.2,
    }
    runner = start(tmp_path, **options)
    assert [line.partition(' (')[2] for line in said(runner)] == [
        'no effect: the one of the checkpoint goes on)'
    ] * 3
    runner.train()
    assert runner.optim_wrapper.optimizer.param_groups[0]['initial_lr'] == 0.025
    assert runner.param_schedulers[0].T_max == 100
    architect = next(hook for hook in runner.hooks if hasattr(hook, 'arch_optimizer'))
    assert architect.architect.optimizer.param_groups[0]['lr'] == 3e-3


@pytest.mark.slow
@pytest.mark.parametrize('runner_type', [None, 'Runner'])
def test_resumed_unchanged_it_is_stored_as_it_began(runner_type, tmp_path):
    """Else what starts by it would resume."""
    start(tmp_path, resume=False, runner_type=runner_type).train()
    start(tmp_path, runner_type=runner_type).train()
    assert stored(tmp_path) == (0.75, False, None)
    assert 'resume=False' in (tmp_path / 'config.py').read_text().replace(' ', '')


def test_what_is_refused_is_not_stored(tmp_path):
    start(tmp_path, resume=False).train()
    before = (tmp_path / 'config.json').read_bytes()
    runner = start(tmp_path, **{'randomness.seed': 5})
    assert said(runner) == ['randomness.seed 0 -> 5']
    with pytest.raises(UserError, match='cannot resume: the run was begun with seed 0'):
        runner.train()
    assert (tmp_path / 'config.json').read_bytes() == before


@pytest.mark.slow
def test_a_checkpoint_of_another_folder_is_compared_with_that_folder(tmp_path):
    start(tmp_path / 'first', resume=False).train()
    checkpoint = next((tmp_path / 'first').glob('epoch_*.pth'))
    runner = start(tmp_path / 'second', resume=str(checkpoint), **{LAMBDA: 0.5})
    assert said(runner) == [f'{LAMBDA} 0.75 -> 0.5']
    runner.train()
    assert stored(tmp_path / 'second') == (0.5, False, None)
    assert stored(tmp_path / 'first') == (0.75, False, None)


@pytest.mark.slow
def test_a_damaged_record_is_named_and_stops_nothing(tmp_path):
    start(tmp_path, resume=False).train()
    (tmp_path / 'config.json').write_text('{')
    runner = start(tmp_path)
    (log,) = Path(runner._log_dir).glob('*.log')
    assert 'config.json: no JSON: what changed since the last start is not known' in log.read_text()
    runner.train()
    assert stored(tmp_path) == (0.75, False, None)
