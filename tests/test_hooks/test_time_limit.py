"""A search whose time is over: where it ends, what it counts over its starts, what it says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import digits_runner, log_text
from mmengine.hooks import Hook

from rdarts.errors import UserError
from rdarts.hooks import TimeLimitHook
from rdarts.results.log import read_search_log
from rdarts.study.figures import read_search

EPOCHS = {'train_cfg.max_epochs': 5}


class Stopped(Exception):
    """As if the machine was gone."""


class Clock(Hook):
    """Each iteration takes ten seconds, of two in an epoch; a start begins at any time.

    Args:
        stop (int, optional): Before which iteration, counted from 0, the run is lost.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: float, stop: int | None = None):
        self.now, self.stop = now, stop
        monkeypatch.setattr('rdarts.hooks.watchers.time_limit.time', self)

    def perf_counter(self) -> float:
        return self.now

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.stop:
            raise Stopped
        self.now += 10.0


def search(folder: Path, clock: Clock, seconds: float | None, resume: bool = False, **options):
    options = {**EPOCHS, 'default_hooks.checkpoint.iter_interval': 1, **options}
    keys = {} if seconds is None else dict(max_seconds=seconds)
    runner = digits_runner(folder, options, hooks=[clock], resume=resume, **keys)
    assert len(runner.train_dataloader) == 2
    runner.train()
    return runner


def rows(folder: Path) -> list[dict | None]:
    return [row.get('stopped') for row in read_search_log(folder, 'epoch')]


ENDED = dict(by='time_limit', kept_epoch=3)


def test_it_ends_after_the_epoch_and_stays_ended_until_there_is_more_time(tmp_path, monkeypatch):
    runner = search(tmp_path, Clock(monkeypatch, 7.0), 45.0)
    assert runner.epoch == 3 and rows(tmp_path) == [None, None, ENDED]
    assert (tmp_path / 'genotype.json').is_file()
    before = (tmp_path / 'search_log.jsonl').read_bytes()
    assert search(tmp_path, Clock(monkeypatch, 0.0), 45.0, resume=True).epoch == 3
    assert (tmp_path / 'search_log.jsonl').read_bytes() == before
    assert search(tmp_path, Clock(monkeypatch, 0.0), 61.0, resume=True).epoch == 4
    assert rows(tmp_path) == [None, None, ENDED, dict(by='time_limit', kept_epoch=4)]


@pytest.mark.parametrize('stop', [1, 2, 3, 5])
def test_time_is_that_of_all_starts(tmp_path, monkeypatch, stop):
    with pytest.raises(Stopped):
        search(tmp_path, Clock(monkeypatch, 50.0, stop), 45.0)
    assert search(tmp_path, Clock(monkeypatch, 900.0), 45.0, resume=True).epoch == 3
    assert rows(tmp_path) == [None, None, ENDED]


def test_a_run_that_began_without_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr('rdarts.hooks.search_log.time', clock := Clock(monkeypatch, 0.0, 3))
    with pytest.raises(Stopped):
        search(tmp_path, clock, None)
    # the log alone knows how long it took: three iterations
    assert search(tmp_path, Clock(monkeypatch, 0.0), 45.0, resume=True).epoch == 3


@pytest.mark.parametrize('entry', [3, dict(bytes=0), dict(bytes=0, seconds='long')])
def test_a_damaged_entry_of_such_a_run_is_one_line(entry):
    with pytest.raises(UserError, match='cannot resume: .* search_log') as error:
        TimeLimitHook(9.0).after_load_checkpoint(
            SimpleNamespace(_resume=True), {'search_log': entry}
        )
    assert '\n' not in str(error.value)


def test_of_several_ranks_the_first_one_says_so(tmp_path, monkeypatch):
    """Its time is in the checkpoint: what another one ended would go on when it is resumed."""
    monkeypatch.setattr('rdarts.hooks.watchers.time_limit.is_main_process', lambda: False)
    assert search(tmp_path, Clock(monkeypatch, 0.0), 45.0).epoch == 5


def test_what_it_ends_with_is_saved_whatever_the_interval(tmp_path, monkeypatch):
    options = {'default_hooks.checkpoint.interval': 4, 'default_hooks.checkpoint.iter_interval': 0}
    search(tmp_path, Clock(monkeypatch, 0.0), 25.0, **options)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_2_iter_4.pth']


def test_the_last_epoch_is_no_end_by_time(tmp_path, monkeypatch):
    search(tmp_path, Clock(monkeypatch, 0.0), 95.0)
    assert rows(tmp_path) == [None] * 5


def test_what_another_rule_ends_in_the_same_epoch_is_no_end_by_time(tmp_path, monkeypatch):
    rule = dict(type='rdarts.StopRulesHook', skips=0, start_epoch=3)
    options = {'default_hooks.stop_rules': rule}
    runner = search(tmp_path, Clock(monkeypatch, 0.0), 45.0, **options)
    assert runner.epoch == 3
    assert rows(tmp_path) == [None, None, dict(by='stop_rules', kept_epoch=3)]
    assert 'are over' not in log_text(tmp_path)
    (limit,) = (hook for hook in runner.hooks if isinstance(hook, TimeLimitHook))
    assert limit.state['stopped'] is None


def test_figures_say_so(tmp_path, monkeypatch):
    search(tmp_path / 'cut', Clock(monkeypatch, 0.0), 45.0)
    search(tmp_path / 'whole', Clock(monkeypatch, 0.0), None)
    assert read_search(tmp_path / 'cut')['cut'] == dict(after=3, of=5, unit='epoch')
    assert read_search(tmp_path / 'whole')['cut'] is None
    search(tmp_path / 'cut', Clock(monkeypatch, 0.0), 900.0, resume=True)
    assert read_search(tmp_path / 'cut')['cut'] is None  # it has gone on to its end


def test_what_is_refused():
    with pytest.raises(UserError, match='seconds'):
        TimeLimitHook(0.0)
