"""Reading a search's log, and the entropy plot."""

from __future__ import annotations

import csv
import json

import pytest

from rdarts.errors import UserError
from rdarts.visualization.search_log import plot_entropy, read_search_log


def write_log(folder, epochs=3, tail=''):
    rows = [dict(schema=1, kind='start', epoch=0, iter=0)]
    for epoch in range(1, epochs + 1):
        kinds = dict(
            parameter_free=dict(weight=0.2, entropy=0.9 / epoch),
            parameterised=dict(weight=0.2, entropy=0.6 / epoch),
        )
        rows.append(
            dict(schema=1, kind='epoch', epoch=epoch, iter=9, mean_entropy=1.5 / epoch, kinds=kinds)
        )
    text = ''.join(json.dumps(row) + '\n' for row in rows)
    folder.mkdir(exist_ok=True)
    (folder / 'search_log.jsonl').write_text(text + tail)
    return folder


def test_rows_by_kind_and_a_torn_last_line(tmp_path):
    folder = write_log(tmp_path, tail='{"schema": 1, "ki')
    assert [row['epoch'] for row in read_search_log(folder, 'epoch')] == [1, 2, 3]
    assert len(read_search_log(folder)) == 4


def test_a_missing_or_damaged_log(tmp_path):
    with pytest.raises(UserError, match='no search_log.jsonl in'):
        read_search_log(tmp_path)
    (tmp_path / 'search_log.jsonl').write_text('no json\n{}\n')
    with pytest.raises(UserError, match='line 1: no JSON'):
        read_search_log(tmp_path)


@pytest.mark.parametrize(
    ('suffix', 'start'), [('png', b'\x89PNG'), ('svg', b'<?xml'), ('pdf', b'%PDF')]
)
def test_the_picture_and_its_numbers(tmp_path, suffix, start):
    folders = [write_log(tmp_path / name) for name in ('one', 'two')]
    path = tmp_path / f'entropy.{suffix}'
    plot_entropy(folders, path)
    assert path.read_bytes().startswith(start)
    rows = list(csv.reader(open(tmp_path / 'entropy.csv')))
    assert rows[0] == ['search', 'epoch', 'mean_entropy', 'parameter_free', 'parameterised']
    assert rows[2] == ['one', '2', '0.75', '0.45', '0.3']
    assert [row[0] for row in rows[1:]] == ['one'] * 3 + ['two'] * 3


def test_a_search_without_an_epoch(tmp_path):
    with pytest.raises(UserError, match='no epoch has ended yet'):
        plot_entropy([write_log(tmp_path / 'run', epochs=0)], tmp_path / 'e.png')
