from __future__ import annotations

import os
import re
import signal
from types import SimpleNamespace

import pytest
from helpers import digits_config, run_tool, write_small_search
from test_engine import event_hooks  # noqa: F401 (registers SignalAt)

from rdarts.apis import dry_run as module
from rdarts.apis.dry_run import Stopwatch, dry_run
from rdarts.errors import Interrupted, RunFailed, UserError
from rdarts.hooks.architect_hook import ArchitectHook


def watch(loads, mode='train', per_epoch=1000, **given):
    """Run iterations of these seconds until the stopwatch has enough."""
    clock = [100.0]
    stopwatch = Stopwatch(clock=lambda: clock[0], **given)
    loader = range(per_epoch)
    runner = SimpleNamespace(train_dataloader=loader, val_dataloader=loader)
    getattr(stopwatch, f'before_{mode}_epoch')(runner)
    done = 0
    try:
        for index, seconds in enumerate(loads):
            clock[0] += seconds
            done += 1
            getattr(stopwatch, f'after_{mode}_iter')(runner, index)
    except module._Enough:
        return done, stopwatch.seconds(mode)
    pytest.fail('it never had enough')


@pytest.mark.parametrize('mode', ['train', 'val'])
def test_how_long_a_dry_run_measures(mode):
    slow = [50.0, 30.0]  # start-up
    # 10 s, but 3 iterations at least and 40 at most
    assert watch([*slow, *[20.0, 30.0] * 9], mode) == (5, pytest.approx(70 / 3))
    assert watch([*slow, *[1.0, 3.0] * 9], mode) == (8, pytest.approx(12 / 6))
    assert watch([*slow, *[0.01] * 99], mode) == (42, pytest.approx(0.01))
    assert watch([*slow, *[1.0] * 9], mode, seconds=4.0) == (6, pytest.approx(1.0))
    # or what an epoch has
    assert watch([*slow, *[0.5] * 9], mode, per_epoch=6) == (6, pytest.approx(0.5))
    assert watch([50.0, 30.0], mode, per_epoch=2) == (2, pytest.approx(30.0))
    assert watch([50.0], mode, per_epoch=1) == (1, pytest.approx(50.0))


def set_clock(monkeypatch):
    """.4 s of the weights' step, .6 s of alpha's, .25 s of a validation batch, else none."""
    clock = [0.0]

    def tick(self, runner, batch_idx, data_batch=None, outputs=None, mode='train'):
        clock[0] += 0.4 if mode == 'train' else 0.25
        after_iter(self, runner, batch_idx, data_batch, outputs, mode)

    def step(self, *args):
        clock[0] += 0.6
        alpha_step(self, *args)

    after_iter, alpha_step = Stopwatch._after_iter, ArchitectHook.step
    monkeypatch.setattr(Stopwatch, '_after_iter', tick)
    monkeypatch.setattr(ArchitectHook, 'step', step)
    monkeypatch.setattr(module.time, 'perf_counter', lambda: clock[0])
    monkeypatch.setattr(Stopwatch.__init__, '__defaults__', (lambda: clock[0], None))


@pytest.mark.slow
def test_the_expected_time_is_that_of_all_iterations_validations_and_ends(
    tmp_path, monkeypatch, capsys
):
    set_clock(monkeypatch)
    options = {'train_cfg.max_epochs': 7, 'train_cfg.val_interval': 3}
    found = dry_run(digits_config(tmp_path / 'run', options, images=96))
    # 48 images in each half, batches of 8; validations after epochs 3, 6 and 7
    assert found['seconds_per_iteration'] == pytest.approx(1.0)
    assert found['seconds_at_rest'] is None
    assert found['expected_seconds'] == pytest.approx(7 * 6 * 1.0 + 3 * 6 * 0.25)
    out = capsys.readouterr().out
    assert 'iteration:   1.000 s\n' in out
    assert 'expected:    0:00:46 for 7 epochs of 6 iterations' in out


@pytest.mark.slow
@pytest.mark.parametrize('order', ['alpha_first', 'weights_first'])
def test_epochs_in_which_alpha_rests_have_iterations_of_the_weights_alone(
    tmp_path, monkeypatch, capsys, order
):
    set_clock(monkeypatch)
    options = {
        'train_cfg.max_epochs': 7,
        'train_cfg.val_interval': 7,
        'default_hooks.architect.start_epoch': 3,
        'default_hooks.architect.step_order': order,
    }
    found = dry_run(digits_config(tmp_path / 'run', options, images=96))
    assert found['seconds_per_iteration'] == pytest.approx(1.0)
    assert found['seconds_at_rest'] == pytest.approx(0.4)
    assert found['expected_seconds'] == pytest.approx(3 * 6 * 0.4 + 4 * 6 * 1.0 + 6 * 0.25)
    out = capsys.readouterr().out
    assert 'iteration:   1.000 s, and 0.400 s in the first 3 epochs: alpha rests\n' in out


@pytest.mark.slow
def test_dry_run_in_process(tmp_path, capsys):
    cfg = digits_config(tmp_path / 'run', {'epochs': 7}, images=96)
    before = cfg.to_dict()
    found = dry_run(cfg)
    assert cfg.to_dict() == before
    assert not (tmp_path / 'run').exists()
    assert found['alphas'] == 30
    # C 2, N 1: stem 3 x 2 x 9 + 4; cells 6 C^2 (9 + 1) at 2, 4 and 8; two residual blocks of
    # 3x3, 3x3 and 1x1 with two batch norms; the last batch norm; the head
    cells = sum(6 * c * c * 10 for c in (2, 4, 8))
    blocks = sum(a * 2 * a * 9 + 4 * a * a * 9 + 2 * a * a + 8 * a for a in (2, 4))
    assert found['parameters'] == 58 + cells + blocks + 16 + 90
    assert found['memory_mb'] > 100
    assert found['seconds_per_iteration'] > 0
    # 48 images in each half: 6 iterations an epoch
    least = 7 * 6 * found['seconds_per_iteration']
    assert least < found['expected_seconds'] < 100 * least
    text = capsys.readouterr().out
    assert '7 epochs for the 10 of the config, its others in proportion\n' in text
    assert 'schedule_epochs 100 -> 70' in text
    assert f'{found["parameters"]:,} and 30 alphas' in text
    assert f'{found["macs"]:,} a (3, 32, 32) image' in text
    assert 'for 7 epochs of 6 iterations' in text


@pytest.mark.slow
@pytest.mark.parametrize('resume', [False, True])
def test_dry_run_writes_nothing(resume, tmp_path):
    small = write_small_search(tmp_path, images=48, batch_size=8)
    before = sorted(tmp_path.rglob('*'))
    args = ['--resume'] if resume else []
    done = run_tool(
        ['train.py', small, '--work-dir', tmp_path / 'run', '--dry-run', *args], cwd=tmp_path
    )
    assert done.code == 0, done.err
    for pattern in (
        r'parameters: +[\d,]+ and 30 alphas\n',
        r'MACs: +[\d,]+ a \(3, 32, 32\) image',
        r'memory: +[\d,]+ MB peak; [\d.]+ GB free of [\d.]+ GB \(the \w+\)',
        r'iteration: +[\d.]+ s\n',
        r'expected: +\d+:\d\d:\d\d for 3 epochs of 3 iterations\n',
    ):
        assert re.search(pattern, done.out), done.out
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_it_says_that_nothing_is_written(number, tmp_path, monkeypatch):
    """At once, not after the iteration; and no folder is left behind."""
    cfg = digits_config(tmp_path / 'run')
    cfg.custom_hooks = [dict(type='SignalAt', event='iter', number=1, signum=int(number))]
    monkeypatch.setattr(module.tempfile, 'tempdir', str(tmp_path))
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(Interrupted) as stopped:
            dry_run(cfg)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    name = 'Ctrl-C' if number == signal.SIGINT else number.name
    assert str(stopped.value) == f'stopped by {name}: of a dry run nothing is written'
    assert stopped.value.code == 128 + number
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'hook', [dict(type='FullDisk'), dict(type='Poison', event='before_weights')]
)
def test_failed_it_names_no_checkpoint(hook, tmp_path, monkeypatch):
    """Neither of its folder, which is gone by then, nor that there is none yet."""
    monkeypatch.setattr(os, 'fsync', os.fsync)  # which FullDisk replaces
    cfg = digits_config(tmp_path / 'run', {'default_hooks.checkpoint.iter_interval': 1})
    cfg.custom_hooks = [dict(hook, iteration=1)]
    with pytest.raises(RunFailed, match=r'\. A dry run saves nothing\.$'):
        dry_run(cfg)


def test_phases_are_measured_one_by_one(tmp_path, capsys):
    cfg = digits_config(tmp_path / 'run')
    cfg.phases = [
        dict(epochs=1, default_hooks=dict(architect=dict(max_steps=0))),
        dict(epochs=2, branches=2, start=dict(type='rdarts.KeepTopOps', keep=2)),
    ]
    found = dry_run(cfg)
    assert not (tmp_path / 'run').exists()
    first, second = found['phases']
    assert second['macs'] < first['macs']
    assert found['expected_seconds'] == first['expected_seconds'] + 2 * second['expected_seconds']
    text, told = capsys.readouterr()
    assert 'alpha moves in no iteration' not in text + told  # a phase may train the weights alone
    assert [line for line in text.splitlines() if line.startswith('phase')] == [
        'phase 1 of 2:', 'phase 2 of 2, 2 times:'
    ]  # fmt: skip
    assert text.rstrip().endswith('for 5 epochs of all phases')
    cfg.phases[1].start.keep = 9
    with pytest.raises(UserError, match=r'^phases\.1: KeepTopOps: keep=9, but 5 candidates'):
        dry_run(cfg)
