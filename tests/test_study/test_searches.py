"""What would be left of an interrupted search."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from synthetic_queries import write_queries

from rdarts.configuration.as_data import read_config
from rdarts.results.log import read_search_log
from rdarts.study.run import Run
from rdarts.study.searches import seconds_left

ASKS = dict(expected_seconds=100.0, seconds_per_query=5.0)
IN_PHASES = dict(expected_seconds=160.0, phases=[dict(expected_seconds=60.0), ASKS])


@pytest.mark.parametrize(
    ('given', 'measured', 'left'),
    [
        (dict(queries=5), ASKS, 75.0),
        (dict(queries=0), ASKS, 100.0),
        (dict(queries=5, epochs=3), IN_PHASES, 75.0),
        (dict(queries=0, epochs=3), IN_PHASES, 100.0),
        # another search stands for the supernet
        (dict(queries=5, epochs=3), dict(expected_seconds=100.0, phases=[ASKS]), 75.0),
    ],
)
def test_a_search_that_asks_by_its_queries(tmp_path, monkeypatch, given, measured, left):
    folder = write_queries(tmp_path / 'run', budget=20, **given)
    cfg, run = Config(read_config(folder)), Run('', folder, [], {})
    monkeypatch.setattr(Run, 'state', lambda run: 'resume')
    assert seconds_left(run, cfg, measured) == left
    monkeypatch.setattr(Run, 'state', lambda run: 'new')
    assert seconds_left(run, cfg, measured) == measured['expected_seconds']


@pytest.mark.parametrize('limit', [40.0, 1.0])
def test_no_more_than_its_time_is_left(tmp_path, monkeypatch, limit):
    folder = write_queries(tmp_path / 'run', budget=20, queries=5)
    cfg, run = Config(read_config(folder)), Run('', folder, [], {})
    cfg.max_seconds = limit
    spent = max(row['seconds'] for row in read_search_log(folder, 'query'))
    assert 1.0 < spent < 40.0
    monkeypatch.setattr(Run, 'state', lambda run: 'resume')
    assert seconds_left(run, cfg, ASKS) == max(0.0, limit - spent)
    monkeypatch.setattr(Run, 'state', lambda run: 'new')
    assert seconds_left(run, cfg, ASKS) == limit


def test_a_supernet_by_its_epochs(tmp_path, monkeypatch):
    folder = write_queries(tmp_path / 'run', queries=0, budget=20, epochs=3)
    config = read_config(folder)
    config['train_cfg']['max_epochs'] = 6
    monkeypatch.setattr(Run, 'state', lambda run: 'resume')
    assert seconds_left(Run('', folder, [], {}), Config(config), IN_PHASES) == 30.0 + 100.0


@pytest.mark.parametrize('limit', [None, 40.0, 1000.0])
def test_of_one_that_has_just_been_started_all_is_left(tmp_path, monkeypatch, limit):
    """It runs, and has written no log yet."""
    folder = write_queries(tmp_path / 'run', budget=20, queries=5)
    cfg, run = Config(read_config(folder)), Run('', folder, [], {})
    cfg.max_seconds = limit
    (folder / 'search_log.jsonl').unlink()
    monkeypatch.setattr(Run, 'state', lambda run: 'running')
    whole = ASKS['expected_seconds']
    assert seconds_left(run, cfg, ASKS) == (whole if limit is None else min(whole, limit))
