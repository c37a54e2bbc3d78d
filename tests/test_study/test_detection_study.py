"""Studies of detection: what they say is to be trained, and what is wrong with them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from rdarts.errors import UserError
from rdarts.study.detection_study import DetectionStudy
from rdarts.study.study_file import comparison_of, read_study

READY = str(Path(__file__).resolve().parents[2] / 'configs' / 'studies' / 'detection.py')
installed = all(importlib.util.find_spec(name) for name in ('mmdet', 'mmcv'))
installed = installed and importlib.util.find_spec('mmcv._ext')
with_detection = pytest.mark.skipif(
    not installed, reason='detection is not installed: make install-detection'
)


def write(folder: Path, **keys: str) -> str:
    """A study of a network in a detector, with other keys, as they are written in a file."""
    given = dict(
        kind="'detection'",
        space="'darts'",
        networks="dict(V2='DARTS_V2')",
        detectors="['retinanet']",
        data="['coco']",
    )
    path = folder / 'mine.py'
    body = ', '.join(f'{key}={value}' for key, value in (given | keys).items())
    path.write_text(f'study = dict({body})')
    return str(path)


def values(texts: list[str]) -> dict[str, str]:
    return dict(text.split('=', 1) for text in texts)


@with_detection
def test_the_ready_study():
    plan = comparison_of([READY], methods=['rdarts_darts_c10', 'DARTS_V2'], data=['coco'])
    assert isinstance(plan, DetectionStudy)
    assert (plan.searches, plan.networks) == (['rdarts_darts_c10'], dict(DARTS_V2='DARTS_V2'))
    assert plan.pairs == [('retinanet', 'coco'), ('faster-rcnn', 'coco')]
    assert (plan.remark, plan.work_dir) == ('Detection', 'work_dirs/studies/detection')
    assert Path(plan.retrain).stem == 'darts_imagenet' and not plan.search_options
    assert plan.options['retinanet', 'coco'] == ['auto_scale_lr.enable=True']
    assert plan.published['coco']['faster-rcnn: ResNet50'] == dict(AP=37.4)


@with_detection
def test_small_begins_from_random_weights():
    given = dict(methods=['DARTS_V1'], data=['voc0712'], small=True, seeds=2, first_seed=3, jobs=2)
    plan = comparison_of([READY], **given)
    assert plan.retrain is None and list(plan.all_seeds) == [3, 4] and plan.jobs == 2
    assert plan.remark.startswith('Detection; small: from random weights')
    assert plan.published == {} and plan.work_dir == 'work_dirs/studies/detection_small'
    options = values(plan.options['faster-rcnn', 'voc0712'])
    assert options['model.backbone.init_cfg'] == 'None'
    assert options['model.backbone.norm_eval'] == 'False'
    assert options['model.test_cfg.rcnn.score_thr'] == '0.0'
    assert 'model.test_cfg.score_thr' not in options and options['auto_scale_lr.enable'] == 'True'
    assert options['val_dataloader.dataset.data_root'].endswith("voc_mini/'")


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(netwrks='{}'), "study has no key 'netwrks': did you mean 'networks'"),
        (dict(networks='{}'), 'study.networks or study.searches is missing'),
        (dict(networks='dict(V2=3)'), 'study.networks.V2 must be a text, but is 3'),
        (dict(searches='[3]'), 'study.searches must hold names, but has 3'),
        (dict(networks="{'a/b': 'DARTS_V2'}"), 'study.networks: a name must be of letters, digits'),
        (dict(networks="{'..': 'DARTS_V2'}"), 'study.networks: a name must be of letters, digits'),
        (dict(networks="{3: 'DARTS_V2'}"), 'study.networks: a name must be of letters, digits'),
        (dict(searches="['V2']"), "study.networks has 'V2' twice"),
        (dict(detectors="['retinanet', 'retinanet']"), "study.detectors has 'retinanet' twice"),
        (dict(data="['coco', 'coco']"), "study.data has 'coco' twice"),
        (dict(detectors='[]'), 'study.detectors must be a list of names'),
        (dict(data="['coc']"), "study.data: there is no 'coc': did you mean 'coco'"),
        (dict(seeds='0'), 'study.seeds must be 1 or more, but is 0'),
        (dict(by_data='dict(voc0712={})'), "study.by_data has no key 'voc0712'"),
        (dict(by_detector='dict(retinnet={})'), "study.by_detector has no key 'retinnet'"),
        (dict(small='dict(options={})'), 'study.small.says is missing'),
        (dict(small="dict(says='x', from_scratch=1)"), 'study.small.from_scratch must be True'),
        (dict(published="dict(coco={'retnanet: a': {}})"), "study.published.coco: 'retnanet: a'"),
        (dict(published="dict(coco={'retinanet: a': dict(mAP=3)})"),
         "study.published.coco.retinanet: a has no key 'mAP'"),
        (dict(published="dict(coco={'retinanet: a': dict(AP=365)})"),
         'study.published.coco.retinanet: a.AP must be from 0 to 100, but is 365'),
        (dict(absent="dict(V2='why')"), 'study.absent: V2 is trained'),
        (dict(options='{3: 1}'), 'study.options must have keys of a config, but has 3'),
        (dict(by_detector='dict(retinanet={3: 1})'),
         'study.by_detector.retinanet must have keys of a config, but has 3'),
    ],
)  # fmt: skip
def test_a_wrong_key(tmp_path, keys, message):
    path = write(tmp_path, **keys)
    with pytest.raises(UserError) as error:
        read_study(path)
    assert str(error.value).startswith(f'{path}: {message}') and '\n' not in str(error.value)


@with_detection
@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(networks="dict(V2='DRTS_V2')"), 'study.networks.V2: '),
        (dict(detectors="['ssd']"), "there is no detector 'ssd' over networks of 'darts' on coco"),
        (dict(space="'drts'"), "there is no detector 'retinanet' over networks of 'drts' on coco"),
        (dict(searches="['rdarts_nb201_c10']"), 'study.searches: rdarts_nb201_c10 is no search of'),
        (dict(searches="['pc_darts_nb201_c10']"), 'study.searches: pc_darts_nb201_c10 is no'),
        (dict(searches="['rdrts_darts_c10']"), "study.searches: there is no 'rdrts_darts_c10'"),
        (dict(retrain="'drts_imagenet'"), "retrain: there is no 'drts_imagenet'"),
    ],
)
def test_what_does_not_fit(tmp_path, keys, message):
    path = write(tmp_path, **keys)
    with pytest.raises(UserError) as error:
        comparison_of([path])
    assert str(error.value).startswith(f'{path}: {message}') and '\n' not in str(error.value)


def test_a_wrong_command(tmp_path):
    path = write(tmp_path)
    for given, message in (
        (dict(small=True), f'--small: {path} has no small'),
        (dict(space=['darts']), f'--space is for studies of searches: {path} is one of detection'),
        (dict(retrain='x'), '--retrain is for studies of searches'),
        (dict(limit_seconds=3.0), '--limit-seconds is for studies of searches'),
        (dict(methods=['V3']), "--methods: the study has no 'V3': did you mean 'V2'"),
        (dict(data=['voc0712']), "--data: the study has no 'voc0712': "),
        (dict(seeds=0), '--seeds must be 1 or more, but is 0'),
    ):
        with pytest.raises(UserError) as error:
            comparison_of([path], **given)
        assert message in str(error.value) and '\n' not in str(error.value)


def test_without_mmdetection_one_line_says_what_to_install(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda n: None if n == 'mmdet' else find(n))
    with pytest.raises(UserError, match='make install-detection') as error:
        comparison_of([write(tmp_path)])
    assert '\n' not in str(error.value)
