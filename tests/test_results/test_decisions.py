"""What a selection decided, as the log tells it."""

from __future__ import annotations

import json

import pytest
from synthetic import write_search

from rdarts.errors import UserError
from rdarts.results.decisions import decisions_before
from rdarts.results.search_run import find_runs

ROW = dict(
    schema=1,
    kind='selection',
    epoch=1,
    iter=4,
    decided=1,
    cell='cell',
    edge='0-2',
    kept=['none'],
    criterion='accuracy',
    scores={'none': 12.5, 'skip_connect': 50},
)
NODE = dict(cell='normal', node=3, kept=['0-3', '2-3'], criterion='loss', scores={})


def written(folder, *rows):
    write_search(folder, epochs=2)
    with open(folder / 'search_log.jsonl', 'a') as log:
        log.writelines(json.dumps({**ROW, **row}) + '\n' for row in rows)
    return find_runs([folder])[0]


def test_decisions_in_words(tmp_path):
    written(tmp_path / 'run', {})
    with open(tmp_path / 'run' / 'search_log.jsonl', 'a') as log:
        node = {key: value for key, value in {**ROW, **NODE}.items() if key != 'edge'}
        log.write(json.dumps(node) + '\n')
    (run,) = find_runs([tmp_path / 'run'])
    assert decisions_before(run, 1) == []
    assert decisions_before(run, 2) == [
        "edge 0-2 of the cell 'cell' keeps none "
        '(accuracy without each: none 12.5, skip_connect 50)',
        "node 3 of the cell 'normal' keeps 0-3 and 2-3",
    ]


@pytest.mark.parametrize(
    ('row', 'key'),
    [
        (dict(cell=5), 'cell'),
        (dict(edge=3), 'edge'),
        (dict(node=3), 'node'),
        (dict(criterion=None), 'criterion'),
        (dict(kept='none'), 'kept'),
        (dict(kept=[1]), 'kept'),
        (dict(scores=[1]), 'scores'),
        (dict(scores={'none': None}), 'scores'),
    ],
)
def test_rows_that_no_selection_writes(row, key, tmp_path):
    run = written(tmp_path / 'run', row)
    with pytest.raises(UserError, match=f"before epoch 2: '{key}' is not what a selection logs$"):
        decisions_before(run, 2)
