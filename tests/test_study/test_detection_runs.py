"""Runs of a study of detection: what follows what, and with which weights and genotypes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from rdarts.genotypes import load_genotype
from rdarts.study.detection_runs import DetectionRuns
from rdarts.study.detection_study import DetectionStudy
from rdarts.study.detection_tables import expect
from rdarts.study.run import Run

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
installed = all(importlib.util.find_spec(name) for name in ('mmdet', 'mmcv'))
installed = installed and importlib.util.find_spec('mmcv._ext')
pytestmark = pytest.mark.skipif(
    not installed, reason='detection is not installed: make install-detection'
)


def plan(work_dir: Path, **given: object) -> DetectionStudy:
    whole = dict(
        space='darts',
        searches=[],
        networks=dict(V2='DARTS_V2'),
        detectors=['retinanet'],
        data=['coco'],
        work_dir=str(work_dir),
        retrain=str(CONFIGS / 'retrain' / 'darts_imagenet.py'),
        options={('retinanet', 'coco'): ['auto_scale_lr.enable=True']},
    )
    return DetectionStudy(**{**whole, **given})


def end(run: Run, checkpoint: str = '') -> None:
    """As if it had run."""
    run.mark(ended=True)
    if checkpoint:
        (run.folder / checkpoint).write_bytes(b'')


def test_a_network_is_retrained_then_detects_then_is_evaluated(tmp_path, capsys):
    study = plan(tmp_path)
    work = DetectionRuns(study)
    (retraining,) = work.first()
    assert retraining.name == 'V2, seed 0 (retraining)'
    assert retraining.folder == tmp_path / 'V2' / 'seed_0' / 'darts_imagenet'
    assert retraining.command[-2:] == ['--genotype', 'DARTS_V2']
    assert retraining.resume == ('--resume',)
    end(retraining)
    assert work.follow(retraining) == [] and 'no checkpoint' in retraining.error
    end(retraining, 'epoch_1_iter_7.pth')
    work = DetectionRuns(study)
    (detector,) = work.follow(work.first()[0])
    assert detector.name == 'retinanet on coco: V2, seed 0 (detector)'
    weights = retraining.folder / 'epoch_1_iter_7.pth'
    given = f"model.backbone.init_cfg.checkpoint='{weights}'"
    assert given in detector.command and 'auto_scale_lr.enable=True' in detector.command
    assert detector.settings['weights'][0] == weights.name
    assert detector.settings['genotype'] == retraining.settings['genotype']
    end(detector, 'epoch_12_iter_9.pth')
    (evaluation,) = work.follow(detector)
    assert evaluation.folder == detector.folder / 'evaluation' and evaluation.redo
    assert evaluation.command[1].endswith('test.py')
    assert evaluation.command[2:4] == [str(detector.folder / 'config.py'), str(detector.folder)]
    assert work.follow(evaluation) == [] and list(work.evaluations.values()) == [evaluation]
    expect(study)
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        ['done', 'V2, seed 0 (retraining)'],
        ['done', 'retinanet on coco: V2, seed 0 (detector)'],
        ['new', 'retinanet on coco: V2, seed 0 (evaluation)'],
    ]


def test_all_that_follows_a_search_is_listed_before_it_has_run(tmp_path, capsys):
    expect(plan(tmp_path, searches=['rdarts_darts_c10'], networks={}))
    assert [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()] == [
        'rdarts_darts_c10, seed 0 (search)',
        'rdarts_darts_c10, seed 0 (retraining)',
        'retinanet on coco: rdarts_darts_c10, seed 0 (detector)',
        'retinanet on coco: rdarts_darts_c10, seed 0 (evaluation)',
    ]


def test_what_a_search_found_is_trained_from_random_weights(tmp_path):
    study = plan(
        tmp_path, searches=['rdarts_darts_c10'], networks={}, retrain=None, seeds=2, first_seed=4
    )
    work = DetectionRuns(study)
    first, second = work.first()
    assert second.folder == tmp_path / 'rdarts_darts_c10' / 'seed_5'
    end(first)
    assert work.follow(first) == [] and str(first.folder) in first.error  # it has no genotype
    end(second)
    (second.folder / 'genotype.json').write_text(json.dumps(load_genotype('DARTS_V2').to_dict()))
    (detector,) = work.follow(second)
    assert detector.folder == second.folder / 'retinanet_darts_fpn_1x_coco'
    assert detector.command[-2:] == ['--genotype', str(second.folder)]
    assert 'weights' not in detector.settings
    names = [one.name for one in work.detectors]
    assert names == [f'retinanet on coco: rdarts_darts_c10, seed {seed}' for seed in (4, 5)]
