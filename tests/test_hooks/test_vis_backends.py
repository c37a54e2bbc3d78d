"""Scalars of a search reach mmengine's visualisation backends."""

from __future__ import annotations

import json

import pytest
from helpers import digits_runner

SCALARS = {
    'search/arch_loss', 'search/arch_grad_norm/cell', 'search/arch_cosine_total/cell',
    'search/regularizers/ber/lambda_', 'search/regularizers/ber/value',
    'search/regularizers/ber/grad_norm/cell', 'search/regularizers/ber/cosine/cell',
    'search/mean_entropy', 'search/skip_connections',
    *(f'search/kinds/{kind}/{what}' for kind in ('parameter_free', 'parameterised')
      for what in ('weight', 'entropy')),
}  # fmt: skip


def log_rows(folder):
    lines = map(json.loads, (folder / 'search_log.jsonl').read_text().splitlines())
    return {row['iter']: row for row in lines if row['kind'] == 'iter'}


def run(work_dir, *backends):
    visualizer = dict(type='Visualizer', vis_backends=[dict(type=name) for name in backends])
    options = {'default_hooks.search_log.interval': 1, 'default_hooks.logger.interval': 1}
    runner = digits_runner(work_dir, options, visualizer=visualizer)
    runner.train()
    runner.visualizer.close()


def test_tensorboard(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path, 'LocalVisBackend', 'TensorboardVisBackend')
    events = EventAccumulator(str(next(tmp_path.glob('*/vis_data'))))
    events.Reload()
    tags = set(events.Tags()['scalars'])
    assert SCALARS <= tags and {'loss', 'lr', 'accuracy/top1'} <= tags
    rows = log_rows(tmp_path)
    for event in events.Scalars('search/arch_loss'):
        assert event.value == pytest.approx(rows[event.step]['arch_loss'], rel=1e-6)
    assert [event.step for event in events.Scalars('search/arch_loss')] == [1, 2]
    assert [event.step for event in events.Scalars('search/mean_entropy')] == [2]


def test_the_local_file(tmp_path):
    run(tmp_path, 'LocalVisBackend')
    (path,) = tmp_path.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert SCALARS <= set().union(*lines)
    found = [line['search/arch_loss'] for line in lines if 'search/arch_loss' in line]
    assert found == [row['arch_loss'] for row in log_rows(tmp_path).values()]
