"""What is read of a single run."""

from __future__ import annotations

import pytest
from synthetic_queries import write_queries

from rdarts.errors import UserError
from rdarts.study.figures import read_retraining, read_search, share_of_training


@pytest.mark.parametrize(
    ('evaluator', 'share'),
    [
        ('Table', 1.0),
        (dict(type='rdarts.Table', split='valid'), 1.0),
        (dict(type='Table', epochs=12), 0.06),
        (dict(type='Weighted', evaluator=dict(type='Table', epochs=12), reference=1.0), 0.06),
        (dict(type='Weighted', evaluator='ShortTraining', reference=1.0), None),
        (dict(type='rdarts.Scored', score='ZiCo'), None),
        (None, None),
    ],
)
def test_answers_of_the_table_stand_for_trainings(evaluator, share):
    assert share_of_training(evaluator) == share


def test_a_search_that_reads_the_table_has_its_trainings(tmp_path):
    short = dict(type='rdarts.Table', dataset='cifar10', split='valid', epochs=12)
    folder = write_queries(tmp_path / 'table', queries=20, evaluator=short)
    assert read_search(folder)['trainings'] == pytest.approx(1.2)
    scored = dict(type='rdarts.Scored', score=dict(type='rdarts.ZiCo'))
    found = read_search(write_queries(tmp_path / 'scored', queries=20, evaluator=scored))
    assert found['queries'] == 20 and 'trainings' not in found


def test_a_log_of_a_retraining_that_cannot_be_read(tmp_path):
    log = tmp_path / '20261201_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_bytes(b'{"accuracy/top1": 90}\n\xff\xfe\n')
    with pytest.raises(UserError, match=r'scalars.json: cannot be read'):
        read_retraining(tmp_path)
