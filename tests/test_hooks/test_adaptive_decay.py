"""DARTS-ADA: when a search goes back, where to, with what, and what a kill on the way leaves."""

from __future__ import annotations

import logging
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from golden import golden
from helpers import digits_runner, log_text
from same_runs import Killed, same

from rdarts.architect.hessian import Eigenvalue
from rdarts.checkpoint import directory
from rdarts.checkpoint.directory import list_checkpoints
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import load_config
from rdarts.configuration.options import parse_options
from rdarts.engine import SearchTrainLoop, checkpoint_hook
from rdarts.engine.checkpoint_hook import AtomicCheckpointHook
from rdarts.engine.facts import Facts
from rdarts.errors import RunFailed, UserError
from rdarts.genotypes import load_genotype
from rdarts.hooks import AdaptiveDecayHook, CollapseHook, SearchLogHook
from rdarts.hooks.architect_hook import ArchitectHook
from rdarts.models import AlphaOwner
from rdarts.registry import HOOKS, MIXED_OPS, build
from rdarts.results.log import read_search_log
from rdarts.results.search_run import find_runs

SEARCH = configs_folder() / 'search'
PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'en' / 'methods.md'


def documented() -> list[list[str]]:
    """The options of each command of the page on methods for this one."""
    start = '    python tools/train.py configs/search/robust_darts_s2_c10.py '
    lines = PAGE.read_text(encoding='utf-8').splitlines()
    found = [shlex.split(line.removeprefix(start)) for line in lines if line.startswith(start)]
    assert len(found) == 3 and all(options[0] == '--cfg-options' for options in found)
    return [options[1:] for options in found]


def hook_of(name: str, options=()) -> object:
    """A hook as the method's config builds it."""
    cfg = load_config(SEARCH / 'robust_darts_s1_c10.py', parse_options(options))
    assert cfg.default_hooks.architect.order == 2
    return HOOKS.build(cfg.default_hooks[name])


# When: against the published code


def search(epochs: int, decay: float = 3e-4, alpha_decay: float = 0.0) -> SimpleNamespace:
    """As much of a runner as judging needs."""
    group = dict(weight_decay=decay)
    runner = SimpleNamespace(
        max_epochs=epochs,
        logger=logging.getLogger('search'),
        model=AlphaOwner('darts'),
        train_loop=SimpleNamespace(stop_training=False),
        optim_wrapper=SimpleNamespace(optimizer=SimpleNamespace(param_groups=[group])),
    )
    optimizer = SimpleNamespace(param_groups=[dict(weight_decay=alpha_decay)])
    Facts.of(runner).architect = SimpleNamespace(optimizer=optimizer)
    Facts.of(runner).derive = lambda: load_genotype('DARTS_V2')
    return runner


def noticed(hook, values, runner) -> tuple[int, int] | None:
    """The epoch in which growth is seen, and that which it goes back to, both from 0."""
    given = iter(values)
    hook._measure = lambda runner, epoch: Eigenvalue(next(given))
    for epoch in range(runner.max_epochs):
        runner.epoch = epoch
        hook.after_train_epoch(runner)
        back_to = hook.state['stopped' if isinstance(hook, CollapseHook) else 'back_to']
        if back_to is not None:
            return epoch, back_to - 1
    assert next(given, None) is None  # as often measured as the published code does
    return None


@pytest.mark.parametrize('variant', ['ada', 'es'])
@pytest.mark.parametrize('interval', [1, 2])
def test_when_it_is_noticed_and_where_it_goes_back_to(variant, interval):
    given, expected, _ = golden('robust_darts', 'early_stop')
    name, options = ('adaptive_decay', ()) if variant == 'ada' else ('collapse', documented()[0])
    if interval == 1:
        options = (*options, f'default_hooks.{name}.measure_interval=1')
    found = expected[f'freq{interval}']
    values = given['ev_freq1' if interval == 1 else 'ev_freq2_every_second_epoch']
    runner = search(given['epochs'])
    hook = hook_of(name, options)
    rule = hook.rule
    assert (rule.window, rule.factor, rule.delta, rule.interval) == (5, 1.3, 4, interval)
    assert rule.start_epoch - 1 == given['es_start_epoch']
    stop = (found['noticed_in_epoch'], found['stop_epoch'])
    assert noticed(hook, values, runner) == stop
    assert expected['decreasing_series'] == 'never stops'
    assert noticed(hook_of(name, options), sorted(values, reverse=True), runner) is None


def test_the_weight_decay_grows_to_the_last():
    given, expected, tolerance = golden('robust_darts', 'ada_weight_decay')
    hook, decay, seen = hook_of('adaptive_decay'), given['weight_decay'], []
    assert (hook.most, hook.times) == (given['max'], given['mul'])
    while True:
        seen.append([decay, hook.is_final(decay)])
        if seen[-1][1]:
            break
        decay *= hook.times
    for (found, final), (value, last) in zip(seen, expected['wd_and_final'], strict=True):
        assert found == pytest.approx(value, rel=tolerance) and final == last
    # with the last one it goes on to the end
    given, _, _ = golden('robust_darts', 'early_stop')
    assert noticed(hook, given['ev_freq2_every_second_epoch'], search(50, decay=0.03)) is None
    # others stop at what they can reach
    assert [hook.is_final(decay) for decay in (9e-4, 9e-3, 0.5)] == [False, True, True]


def test_alphas_weight_decay_is_in_the_eigenvalue():
    values = [1.0] * 20 + [1.5] * 30
    hook = hook_of('adaptive_decay', ['default_hooks.adaptive_decay.measure_interval=1'])
    assert noticed(hook, values, search(50)) == (23, 17)
    hook = hook_of('adaptive_decay', ['default_hooks.adaptive_decay.measure_interval=1'])
    # 2.5 / 2 is too little
    assert noticed(hook, values, search(50, alpha_decay=1.0)) is None


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (dict(times=1), 'times must be a number above 1, but is 1'),
        (dict(times=float('inf')), 'times must be a number above 1, but is inf'),
        (dict(most=0), 'most must be a number above 0, but is 0'),
        (dict(most='x'), "most must be a number above 0, but is 'x'"),
        (dict(window=0), 'window must be an integer, 1 or more, but is 0'),
        (dict(factor=-1), 'factor must be a positive number, but is -1'),
        (dict(delta=0.5), 'delta must be an integer, 1 or more, but is 0.5'),
        (dict(start_epoch=0), 'start_epoch must be an integer, 1 or more, but is 0'),
        (dict(measure_interval=0), 'measure_interval must be an integer, 1 or more, but is 0'),
        (dict(iterations=True), 'iterations must be an integer, 1 or more, but is True'),
    ],
)
def test_what_is_refused(arguments, line):
    with pytest.raises(UserError, match=f'^AdaptiveDecayHook: {line}'):
        AdaptiveDecayHook(**arguments)


def test_the_other_variants_as_the_page_has_them():
    path = SEARCH / 'robust_darts_s2_c10.py'
    stops, decays, drops = (load_config(path, parse_options(one)) for one in documented())
    for cfg in (stops, decays, drops):
        assert cfg.default_hooks.adaptive_decay is None
        assert cfg.default_hooks.architect.order == 2
    assert HOOKS.build(stops.default_hooks.collapse).stop
    assert decays.optim_wrapper.optimizer.weight_decay == 81e-4
    mixed = build(
        drops.model.backbone.mixed_op, MIXED_OPS, candidates=['skip_connect'], in_channels=2
    )
    assert type(mixed).__name__ == 'DropPath'
    mixed.set_progress(49, 50)
    assert mixed.numbers() == dict(prob=0.6)


@pytest.mark.parametrize(
    ('epochs', 'start', 'interval', 'window', 'delta'),
    # what rounding leaves of the interval, the numbers of measurements take
    [(25, 6, 1, 5, 4), (10, 2, 1, 2, 2), (100, 22, 4, 5, 4), (2, 1, 1, 1, 1)],
)
def test_the_epochs_scale(epochs, start, interval, window, delta):
    cfg = load_config(SEARCH / 'robust_darts_s1_c10.py', dict(epochs=epochs))
    rule = HOOKS.build(cfg.default_hooks.adaptive_decay).rule
    found = (rule.start_epoch, rule.interval, rule.window, rule.delta)
    assert found == (start, interval, window, delta)


# What a search does

RULE = dict(window=1, delta=1, start_epoch=1, measure_interval=1)
# by the number of roll backs: grows in epoch 3, then in epoch 4, then for ever
VALUES = ([1.0, 1.0, 2.0, 4.0], [None, None, 1.0, 2.0, 2.0, 2.0], [2.0**e for e in range(6)])
OPTIONS = {
    'train_cfg.max_epochs': 6,
    'default_hooks.checkpoint.iter_interval': 1,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
    'default_hooks.search_log.interval': 1,
    'default_hooks.adaptive_decay': None,
    'default_hooks.architect.order': 1,  # quicker
}


class Given(AdaptiveDecayHook):
    """With given eigenvalues."""

    def _measure(self, runner, epoch):
        value = VALUES[self.state['roll_backs']][epoch - 1]
        return None if value is None else Eigenvalue(value)


def train(work_dir: Path, hooks=(), resume=False, **options):
    runner = digits_runner(
        work_dir,
        {**OPTIONS, **options},
        images=16,  # an iteration an epoch
        config='robust_darts_nb201_digits',
        hooks=[Given(**RULE), *hooks],
        resume=resume,
    )
    runner.train()
    return runner


def rows(work_dir: Path) -> list[dict]:
    found = read_search_log(work_dir, left=True)
    return [{k: v for k, v in row.items() if k not in ('time', 'memory')} for row in found]


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> Path:
    """An uninterrupted search that goes back twice."""
    folder = tmp_path_factory.mktemp('whole')
    train(folder)
    return folder


def state(folder: Path) -> dict:
    found = read_checkpoint(folder / 'epoch_6_iter_6.pth')
    keys = ('state_dict', 'optimizer', 'param_schedulers', 'arch', 'random_state', 'adaptive_decay')
    return {key: found[key] for key in keys}


def assert_same_search(folder: Path, whole: Path) -> None:
    assert rows(folder) == rows(whole)
    assert same(state(folder), state(whole))
    names = [{path.name for path in (one / 'genotypes').iterdir()} for one in (folder, whole)]
    assert names[0] == names[1]
    assert (folder / 'genotype.json').read_bytes() == (whole / 'genotype.json').read_bytes()
    assert not (folder / 'snapshots').exists()


@pytest.mark.slow
def test_it_goes_back_and_on_with_more_weight_decay(whole):
    log = rows(whole)
    way = [(row['kind'], row['epoch']) for row in log if row['kind'] in ('epoch', 'roll_back')]
    first, second, third = (
        [('epoch', epoch) for epoch in epochs] for epochs in ((1, 2, 3), (3, 4), (4, 5, 6))
    )
    assert way == [*first, ('roll_back', 2), *second, ('roll_back', 3), *third]
    decays = [row['adaptive_decay']['weight_decay'] for row in log if row['kind'] == 'epoch']
    assert decays == pytest.approx([3e-4] * 3 + [3e-3] * 2 + [3e-2] * 3)
    marks = [row for row in log if row['kind'] == 'roll_back']
    assert [(row['by'], row['left_epoch'], row['iter']) for row in marks] == [
        ('adaptive_decay', 3, 2), ('adaptive_decay', 4, 3)
    ]  # fmt: skip
    assert [row['weight_decay'] for row in marks] == pytest.approx([3e-3, 3e-2])
    # the learning rate of an epoch is that of the one schedule
    rates = {(row['epoch'], row['lr']) for row in log if row['kind'] == 'iter'}
    assert len(rates) == 6
    assert [row['epoch'] for row in log if row['kind'] == 'val'] == [1, 2, 3, 3, 4, 4, 5, 6]
    (run,) = find_runs([whole])
    assert run.roll_backs() == [(3, 2), (4, 3)] and run.found_epoch == 6
    assert state(whole)['optimizer']['param_groups'][0]['weight_decay'] == pytest.approx(3e-2)
    assert 'goes on after epoch 2, not 3' in log_text(whole)
    assert not (whole / 'snapshots').exists()


@pytest.mark.slow
def test_resumed_from_every_checkpoint(whole, tmp_path, monkeypatch):
    """Of each way on, those that it has gone back on too: in the same folder, as it was then."""
    copies: list[Path] = []
    save = Given.between_epochs

    def copy_then(self, runner):
        if runner.epoch:
            copies.append(tmp_path / f'copy_{len(copies)}')
            shutil.copytree(runner.work_dir, copies[-1])
        save(self, runner)

    monkeypatch.setattr(Given, 'between_epochs', copy_then)
    train(tmp_path / 'again')
    monkeypatch.undo()
    assert_same_search(tmp_path / 'again', whole)
    assert len(copies) == 7
    for folder in copies[::2]:
        found = next(path for path in list_checkpoints(folder) if 'epoch' not in path.name)
        train(folder, resume=str(found), **{'default_hooks.checkpoint.iter_interval': 0})
        assert_same_search(folder, whole)


# What is called at a moment, and a part of its arguments
MOMENTS = dict(
    write=(AtomicCheckpointHook, 'write', 'snapshots'),
    rename=(checkpoint_hook.os, 'replace', 'epoch_2_roll_backs_0'),
    change=(SearchTrainLoop, 'go_to', ''),
    log=(SearchLogHook, 'after_roll_back', ''),
    save=(AtomicCheckpointHook, 'after_roll_back', ''),
    move=(directory.shutil, 'move', ''),
    delete=(AdaptiveDecayHook, '_delete_but', ''),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('moment', 'number'),
    [
        ('write', 1),  # before the snapshot of epoch 1
        ('rename', 1),  # before that of epoch 2 is whole
        ('change', 1),  # weights and alpha are those of epoch 2
        ('log', 1),  # all is, the log says nothing yet
        ('save', 1),  # the log does, and no checkpoint is of where it went back to
        ('move', 1),  # one is, the later ones are still there
        ('move', 2),  # some of them
        ('delete', 4),  # none of them, but the snapshots of before
        ('delete', 6),  # in the second
    ],
)
def test_killed_on_the_way_back(moment, number, whole, tmp_path, monkeypatch):
    owner, name, part = MOMENTS[moment]
    call, calls = getattr(owner, name), []

    def killed(*args, **kwargs):
        calls.extend([args] if part in str(args) else [])
        if len(calls) == number:
            raise Killed
        return call(*args, **kwargs)

    monkeypatch.setattr(owner, name, killed)
    options = {'default_hooks.checkpoint.max_keep_ckpts': 3}
    with pytest.raises(Killed):
        train(tmp_path, **options)
    monkeypatch.undo()
    train(tmp_path, resume=True, **options)
    assert_same_search(tmp_path, whole)


# Snapshots


def snapshot(folder: Path, epoch: int) -> Path:
    return folder / 'snapshots' / f'epoch_{epoch}_roll_backs_0.pth'


def killed(folder: Path, name: str, epoch: int, monkeypatch) -> None:
    """A search that ended as by SIGKILL where an epoch begins, or ends."""
    call = getattr(AdaptiveDecayHook, name)

    def kill(self, runner):
        if runner.epoch + 1 == epoch:
            raise Killed
        call(self, runner)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(AdaptiveDecayHook, name, kill)
        train(folder)


def went_back(folder: Path) -> list[int]:
    return [row['epoch'] for row in rows(folder) if row['kind'] == 'roll_back']


@pytest.mark.slow
def test_snapshots_are_kept_as_long_as_they_may_be_needed(tmp_path, monkeypatch):
    killed(tmp_path, 'before_train_epoch', 3, monkeypatch)
    # growth that is seen in epoch 3 goes back to 2
    assert list((tmp_path / 'snapshots').iterdir()) == [snapshot(tmp_path, 2)]
    found = read_checkpoint(snapshot(tmp_path, 2))
    assert found['meta']['epoch'] == 2 and {'arch', 'random_state'} <= found.keys()
    # a run that begins anew in this folder does not take them for its own
    train(tmp_path, **{'train_cfg.max_epochs': 1})
    assert snapshot(tmp_path / 'previous_1', 2).is_file()
    assert not (tmp_path / 'snapshots').exists()


@pytest.mark.slow
def test_a_search_that_goes_on_elsewhere_takes_its_snapshots_along(whole, tmp_path, monkeypatch):
    killed(tmp_path / 'here', 'after_train_epoch', 3, monkeypatch)
    train(tmp_path / 'there', resume=str(tmp_path / 'here' / 'iter_3.pth'))
    assert same(state(tmp_path / 'there'), state(whole))
    assert went_back(tmp_path / 'there') == [2, 3]


@pytest.mark.slow
def test_without_its_snapshot_an_epoch_is_not_gone_back_to(tmp_path, monkeypatch):
    killed(tmp_path, 'after_train_epoch', 3, monkeypatch)
    shutil.rmtree(tmp_path / 'snapshots')
    train(tmp_path, resume=True)
    assert went_back(tmp_path) == [3]
    path = snapshot(tmp_path, 2)
    assert f'There is no snapshot {path}: the search cannot go back to epoch 2' in log_text(
        tmp_path
    )


@pytest.mark.slow
def test_where_it_was_to_be_gone_back_to_it_is_missed(tmp_path, monkeypatch):
    killed(tmp_path, 'between_epochs', 4, monkeypatch)
    assert list_checkpoints(tmp_path)[0].name == 'epoch_3_iter_3.pth'
    path = snapshot(tmp_path, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=f'^checkpoint {path} is damaged'):
        train(tmp_path, resume=True)
    path.unlink()
    with pytest.raises(UserError, match=f'about to go back to epoch 2, but its snapshot {path} is'):
        train(tmp_path, resume=True)


@pytest.mark.slow
def test_a_full_disk(tmp_path, monkeypatch):
    replace = checkpoint_hook.os.replace

    def full(source, target):
        if 'roll_backs' in str(target):
            raise OSError(28, 'No space left on device')
        replace(source, target)

    monkeypatch.setattr(checkpoint_hook.os, 'replace', full)
    path = snapshot(tmp_path, 1)
    with pytest.raises(
        RunFailed, match=f'^cannot write the checkpoint {path}: no space left on the disk'
    ) as error:
        train(tmp_path)
    assert 'epoch_1_iter_1.pth (go on from it with --resume)' in str(error.value)
    assert '\n' not in str(error.value) and not list(path.parent.iterdir())


@pytest.mark.slow
def test_what_it_needs(tmp_path):
    options = {'optim_wrapper.optimizer.weight_decay': 0}
    with pytest.raises(UserError, match='which is 0: set optim_wrapper.optimizer.weight_decay'):
        train(tmp_path / 'none', **options)
    runner = digits_runner(tmp_path / 'no', hooks=[AdaptiveDecayHook()])
    runner._hooks = [hook for hook in runner.hooks if not isinstance(hook, ArchitectHook)]
    with pytest.raises(UserError, match='^AdaptiveDecayHook needs an architect in default_hooks'):
        runner.train()
