"""Rows of a log from elsewhere: what is read of them, and how what does not fit is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from synthetic import write_search

from rdarts.errors import UserError
from rdarts.results.row import number
from rdarts.results.search_run import SearchRun, find_runs


def test_numbers_that_are_none():
    row = dict(a=dict(b=2, c=float('nan'), d='3', e=10**400, f=True, g=None))
    assert number(row, 'a', 'b') == 2.0
    for keys in (['a', 'c'], ['a', 'd'], ['a', 'e'], ['a', 'f'], ['a', 'g'], ['a'], ['x', 'y']):
        assert number(row, *keys) is None


ABSENT = object()
# What an epoch's row has wrong, and the line that says so.
DAMAGED_EPOCHS = [
    (dict(kinds=ABSENT), "no 'kinds'; a search writes it with GenotypeHook"),
    (dict(mean_entropy=None), "epoch 1: 'mean_entropy' is not what a search logs; was"),
    (dict(mean_entropy=float('nan')), "'mean_entropy' is not what a search logs; was alpha"),
    (dict(kinds=dict(parameter_free=None)), "epoch 1: 'kinds' is not what a search logs"),
    (dict(kinds=[1]), "'kinds' is not what"),
    (dict(skip_connections=True), "'skip_connections' is not what"),
    (dict(genotype=3), "'genotype' is not what"),
    (dict(weights={}), "group 'cell' must be 6 x 5 finite numbers: one for each"),
    (dict(weights=dict(cell=[[None] * 5] * 6)), "group 'cell' must be 6 x 5 finite numbers"),
    (dict(weights=dict(cell=[['x'] * 5] * 6)), "group 'cell' must be 6 x 5 finite numbers"),
    (dict(weights=dict(cell=[['.2'] * 5] * 6)), "group 'cell' must be 6 x 5 finite numbers"),
    (dict(stopped=1), "epoch 1: 'stopped' must say kept_epoch, an epoch up to this one"),
    (dict(stopped=dict(by='x', kept_epoch=2)), "'stopped' must say kept_epoch, an epoch up"),
    (dict(stopped=dict(by='x', kept_epoch=0)), "'stopped' must say kept_epoch, an epoch up"),
    (dict(stopped=dict(by='x', kept_epoch=True)), "'stopped' must say kept_epoch, an epoch up"),
    (dict(stopped=dict(by=3, kept_epoch=1)), "epoch 1: 'stopped' must say by what, a name"),
    (dict(weights=dict(cell=[[0.2] * 5, [0.2]])), "group 'cell' must be 6 x 5 finite numbers"),
    (dict(edge_weights=[1]), "epoch 1: 'edge_weights' is not what a search logs"),
    *(
        (dict(edge_weights=dict(cell=cell)), "edge_weights of cell 'cell' must be 6 finite numbers")
        for cell in (5, [0.2] * 5, [[0.2]] * 6, ['x'] * 6, [None] * 6, [float('nan')] * 6, {})
    ),
    (dict(alive=None), "epoch 1: 'alive' is not what a search logs"),
    *(
        (dict(alive=alive), "'alive' of cell 'cell' must say of each candidate of its 6 edges")
        for alive in (
            {},
            dict(cell=5),
            dict(cell=[[True] * 5] * 5),
            dict(cell=[[True] * 4] * 6),
            dict(cell=[[1] * 5] * 6),
            dict(cell=[True] * 6),
            dict(cell=[[False] * 5] * 6),  # an edge without a candidate
        )
    ),
]


def written(folder: Path, change: dict) -> SearchRun:
    """A search of one epoch, with something else in its row."""
    write_search(folder, epochs=1)
    lines = (folder / 'search_log.jsonl').read_text().splitlines()
    row = json.loads(lines[3])
    assert row['kind'] == 'epoch'
    row = {key: value for key, value in {**row, **change}.items() if value is not ABSENT}
    lines[3] = json.dumps(row)
    (folder / 'search_log.jsonl').write_text('\n'.join(lines) + '\n')
    return find_runs([folder])[0]


@pytest.mark.parametrize(('change', 'message'), DAMAGED_EPOCHS)
def test_epochs_that_lack_what_is_shown(tmp_path, change, message):
    run = written(tmp_path / 'run', change)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        _ = run.epochs
    assert '\n' not in str(error.value)


def test_what_a_method_has_beside_alpha_may_be_missing_or_more(tmp_path):
    """Logs of earlier versions have none of it; a cell of another space is not looked at."""
    masks = dict(cell=[[True] + [False] * 4] * 6, other=5)
    weights = dict(cell=[0.5] * 6, other='x')
    run = written(tmp_path / 'more', dict(alive=masks, edge_weights=weights, relaxation=5))
    assert run.epochs[0]['alive'] is not None
    absent = dict.fromkeys(('alive', 'edge_weights', 'relaxation', 'regularizers'), ABSENT)
    assert len(written(tmp_path / 'none', absent).epochs) == 1
    assert len(written(tmp_path / 'some', dict(edge_weights={})).epochs) == 1
