"""A search that asks whose time is over: where it ends, and what it counts over its starts."""

from __future__ import annotations

import copy
import functools
import signal
import uuid

import pytest
from helpers import TOOLS

from rdarts.apis.runs import train
from rdarts.configuration.load import load_config
from rdarts.engine.facts import Place
from rdarts.engine.search_log import add_row, seconds_before
from rdarts.errors import Interrupted
from rdarts.registry import EVALUATORS
from rdarts.results.log import read_search_log
from rdarts.results.search_run import SearchRun
from rdarts.sampling.evaluators import Evaluator
from rdarts.sampling.result import Result
from rdarts.study.figures import read_search


class Clock:
    now = 100.0
    stop_after: int | None = None

    @staticmethod
    def perf_counter() -> float:
        return Clock.now


@EVALUATORS.register_module()
class TakesTen(Evaluator):
    """A query takes ten seconds."""

    def __call__(self, genotype) -> Result:
        Clock.now += 10.0
        if Clock.now == Clock.stop_after:
            signal.raise_signal(signal.SIGTERM)
        return Result(float(genotype.to_string().count('conv')))


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(Clock, 'now', 100.0)
    monkeypatch.setattr('rdarts.sampling.query_search.time', Clock)


@functools.cache
def loaded():
    return load_config(TOOLS.parent / 'configs' / 'search' / 'local_search_nb201_c10.py')


def limited(folder, seconds=45.0, **options):
    cfg = copy.deepcopy(loaded())
    cfg.evaluator = dict(type='TakesTen')
    # of a name of its own: a logger of the same one would be that of another folder
    name = f'asks_{uuid.uuid4().hex}'
    given = dict(budget=40, work_dir=str(folder), experiment_name=name, max_seconds=seconds)
    cfg.update({**given, **options})
    return cfg


def stopped(folder) -> list[int]:
    """The queries after which it was."""
    rows = read_search_log(folder, 'query')
    assert all(row['stopped'] == dict(by='time_limit') for row in rows if 'stopped' in row)
    return [row['query'] for row in rows if 'stopped' in row]


def test_it_ends_after_the_query_and_stays_ended_until_there_is_more_time(tmp_path):
    train(limited(tmp_path))
    assert stopped(tmp_path) == [5] and len(read_search_log(tmp_path, 'query')) == 5
    assert read_search(tmp_path)['cut'] == dict(after=5, of=40, unit='query')
    run = SearchRun(tmp_path, 'one')
    assert run.ended and run.queries.rows[-1]['query'] == 5
    before = (tmp_path / 'search_log.jsonl').read_bytes()
    train(limited(tmp_path), resume=True)
    assert (tmp_path / 'search_log.jsonl').read_bytes() == before
    assert (tmp_path / 'genotype.json').is_file()
    train(limited(tmp_path, 65.0), resume=True)
    assert stopped(tmp_path) == [5, 7]


@pytest.mark.parametrize('after', [1, 4])
def test_time_is_that_of_all_starts(tmp_path, monkeypatch, after):
    monkeypatch.setattr(Clock, 'stop_after', 100.0 + 10 * after)
    with pytest.raises(Interrupted):
        train(limited(tmp_path))
    monkeypatch.setattr(Clock, 'now', 5000.0)
    train(limited(tmp_path), resume=True)
    assert stopped(tmp_path) == [5] and read_search_log(tmp_path, 'query')[-1]['seconds'] == 50.0


def test_the_last_query_is_no_end_by_time(tmp_path):
    train(limited(tmp_path, 30.0, budget=3))
    assert stopped(tmp_path) == [] and read_search(tmp_path)['cut'] is None


def test_phases_before_it_count(tmp_path):
    for phase, kind, told in (
        (0, 'iter', dict(time=7.0)),
        (0, 'iter', dict(time=9.0)),
        (1, 'query', dict(seconds=4.0)),
    ):
        add_row(tmp_path / 'search_log.jsonl', Place(tmp_path, phase), kind, 1, 1, **told)
    found = [seconds_before(Place(tmp_path, phase)) for phase in (None, 1, 2)]
    assert found == [0.0, 9.0, 13.0]
