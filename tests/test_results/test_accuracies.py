"""The accuracies that trainings have logged."""

from __future__ import annotations

import json

from rdarts.results.accuracies import logged_accuracies


def test_every_start_in_its_order(tmp_path):
    starts = dict(
        second=[{'accuracy/top1': 90.0, 'step': 3}, {'accuracy/top1': 'nan', 'step': 4}],
        first=[dict(loss=1.0, step=7), {'accuracy/top1': 80, 'step': 1}, {'accuracy/top1': 70.5}],
    )
    for name, rows in starts.items():
        path = tmp_path / name / 'vis_data' / 'scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text('\n'.join(map(json.dumps, rows)) + '\n{"accuracy/top1": 99.')
    assert logged_accuracies(tmp_path) == [(1, 80.0), (None, 70.5), (3, 90.0)]
    assert logged_accuracies(tmp_path / 'first' / 'vis_data') == []
