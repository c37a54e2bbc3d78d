"""How far a run is: kept on disk, whatever ends it."""

from __future__ import annotations

import json
import os
import time

import pytest

from rdarts.auto.state import FILE, State
from rdarts.errors import UserError

SETTINGS = dict(images='/photos', seconds=60.0)


def test_what_a_step_found_and_took_is_there_again(tmp_path):
    state = State.open(tmp_path, SETTINGS)
    with state.step('search'):
        state.keep('found', dict(a=1))
        assert state.spent() > 0 and not state.ended('search')
    again = State.open(tmp_path, SETTINGS)
    assert again.ended('search') and again['found'] == dict(a=1) and 'other' not in again
    assert again.seconds('search') == state.seconds() == again.spent() > 0


def test_an_interrupted_step_counts_and_has_not_ended(tmp_path):
    state = State.open(tmp_path, SETTINGS)
    with pytest.raises(KeyboardInterrupt), state.step('search'):
        raise KeyboardInterrupt
    again = State.open(tmp_path, SETTINGS)
    assert not again.ended('search') and again.seconds('search') > 0


def test_what_a_killed_session_took_is_told_by_its_newest_file(tmp_path):
    state = State.open(tmp_path, SETTINGS)
    work_dir = tmp_path / 'search'
    work_dir.mkdir()
    began = time.time() - 500
    state.data['steps']['search'] = dict(seconds=7.0, ended=False, began=began)
    state.save()
    (work_dir / 'old').write_text('')
    os.utime(work_dir / 'old', (began + 100, began + 100))
    again = State.open(tmp_path, SETTINGS)
    with again.step('search', work_dir):
        pass
    assert again.seconds('search') == pytest.approx(107, abs=1)


def test_another_run_is_refused(tmp_path):
    State.open(tmp_path, SETTINGS)
    text = (tmp_path / FILE).read_text()
    with pytest.raises(UserError, match='holds another run, of seconds 60.0 and not 120.0'):
        State.open(tmp_path, dict(SETTINGS, seconds=120.0))
    assert (tmp_path / FILE).read_text() == text
    for damaged in ('{', '[]', json.dumps(dict(format=99))):
        (tmp_path / FILE).write_text(damaged)
        with pytest.raises(UserError, match='auto.json is damaged, or of another version'):
            State.open(tmp_path, SETTINGS)
