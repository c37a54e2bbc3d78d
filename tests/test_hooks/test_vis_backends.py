"""Scalars, histograms and cells of a search reach mmengine's visualisation backends."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from helpers import digits_runner

from rdarts.genotypes import load_genotype
from rdarts.visualization import backends
from rdarts.visualization.backends import picture_of

SCALARS = {
    'search/arch_loss', 'search/arch_grad_norm/cell', 'search/arch_cosine_total/cell',
    'search/regularizers/ber/lambda_', 'search/regularizers/ber/value',
    'search/regularizers/ber/grad_norm/cell', 'search/regularizers/ber/cosine/cell',
    'search/mean_entropy', 'search/skip_connections',
    *(f'search/kinds/{kind}/{what}' for kind in ('parameter_free', 'parameterised')
      for what in ('weight', 'entropy')),
}  # fmt: skip


def log_rows(folder):
    return {row['iter']: row for row in every_row(folder) if row['kind'] == 'iter'}


def every_row(folder):
    return [*map(json.loads, (folder / 'search_log.jsonl').read_text().splitlines())]


def run(work_dir, *backends, before=lambda: None):
    visualizer = dict(type='Visualizer', vis_backends=[dict(type=name) for name in backends])
    options = {'default_hooks.search_log.interval': 1, 'default_hooks.logger.interval': 1}
    runner = digits_runner(work_dir, options, visualizer=visualizer)
    before()
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
    (row,) = (row for row in every_row(tmp_path) if row['kind'] == 'epoch')
    for what in ('alpha', 'weights'):
        (event,) = events.Histograms(f'search/{what}/cell')
        values = np.array(row[what]['cell'])
        found = event.histogram_value
        assert (event.step, found.num) == (2, values.size) == (2, 30)
        assert found.sum == pytest.approx(values.sum())
        assert (found.min, found.max) == pytest.approx((values.min(), values.max()))
    (event,) = events.Images('search/genotype')
    image = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    expected = picture_of(load_genotype(tmp_path))
    assert event.step == 2 and (image[..., ::-1] == expected).all() and expected.min() < 100


def test_wandb_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    logged = []
    run(
        tmp_path,
        'LocalVisBackend',
        'WandbVisBackend',
        before=lambda: monkeypatch.setattr(
            wandb,
            'log',
            lambda values, **keys: (logged.append(values), wandb.run.log(values, **keys)),
        ),
    )
    shown = next(values for values in logged if 'search/genotype' in values)
    (row,) = (row for row in every_row(tmp_path) if row['kind'] == 'epoch')
    histogram = shown['search/weights/cell']
    assert sum(histogram.histogram) == np.size(row['weights']['cell']) == 30
    assert list(tmp_path.glob('*/vis_data/wandb/offline-run-*/*.wandb'))
    assert list(tmp_path.glob('*/vis_data/wandb/offline-run-*/files/media/images/**/*.png'))


def test_other_back_ends_draw_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, 'picture_of', None)
    run(tmp_path, 'LocalVisBackend')
    assert not list(tmp_path.glob('*/vis_data/**/*.png'))


def test_the_local_file(tmp_path):
    run(tmp_path, 'LocalVisBackend')
    (path,) = tmp_path.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert SCALARS <= set().union(*lines)
    found = [line['search/arch_loss'] for line in lines if 'search/arch_loss' in line]
    assert found == [row['arch_loss'] for row in log_rows(tmp_path).values()]
