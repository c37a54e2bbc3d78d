"""Studies of detection: figures, tables, and a tiny one from its command to its files."""

from __future__ import annotations

import importlib.util
import json

import pytest
from helpers import run_tool

from rdarts.errors import UserError
from rdarts.study.detection_study import DetectionStudy
from rdarts.study.detection_tables import detection_table, note_on, read_figures

COCO = {'coco/bbox_mAP': 0.321, 'coco/bbox_mAP_50': 0.5, 'coco/bbox_mAP_75': 0.25}
installed = all(importlib.util.find_spec(name) for name in ('mmdet', 'mmcv'))
installed = installed and importlib.util.find_spec('mmcv._ext')


def plan(**given: object) -> DetectionStudy:
    whole = dict(
        space='darts',
        searches=['rdarts_darts_c10'],
        networks=dict(V2='DARTS_V2'),
        detectors=['retinanet', 'faster-rcnn'],
        data=['coco', 'voc0712'],
        work_dir='work',
        retrain='darts_imagenet',
    )
    return DetectionStudy(**{**whole, **given})


def test_figures_of_an_evaluation(tmp_path):
    (tmp_path / 'figures.json').write_text(json.dumps({**COCO, 'pascal_voc/mAP': 0.75}))
    assert read_figures(tmp_path, 'coco') == dict(AP=32.1, AP50=50.0, AP75=25.0)
    assert read_figures(tmp_path, 'voc0712') == dict(mAP=75.0)
    for text in (
        '{}',
        '[]',
        '{',
        *(json.dumps({**COCO, 'coco/bbox_mAP_75': value}) for value in (float('nan'), -1)),
    ):
        (tmp_path / 'figures.json').write_text(text)
        with pytest.raises(UserError, match=r'figures.json: no AP(75)? \(coco/bbox_mAP(_75)?\)'):
            read_figures(tmp_path, 'coco')
    with pytest.raises(UserError, match=r'figures.json: no mAP \(pascal_voc/mAP\)'):
        read_figures(tmp_path / 'none', 'voc0712')


def test_figures_stand_beside_published_ones():
    published = dict(
        coco={
            'retinanet: V2': dict(AP=30, AP50=50.25),
            'retinanet: ResNet50': dict(AP=36.5),
            'faster-rcnn: ResNet50': dict(AP=37.4),
        }
    )
    study = plan(published=published)
    found = {
        'retinanet: V2': {
            0: dict(AP=31.0, AP50=50.0, AP75=20.0),
            1: dict(AP=33.0, AP50=52.0, AP75=20.0),
        },
        'faster-rcnn: rdarts_darts_c10': {0: dict(AP=35.0, AP50=55.0, AP75=25.5)},
    }
    table = detection_table(study, 'coco', found)
    published_columns = ['published AP', 'published AP50']
    assert table.header == ['detector: network', 'AP', 'AP50', 'AP75', *published_columns]
    assert table.rows == [
        ['retinanet: rdarts_darts_c10', '-', '-', '-', '-', '-'],
        ['retinanet: V2', '32.00 ± 1.41', '51.00 ± 1.41', '20.00 ± 0.00', '30.0', '50.2'],
        ['faster-rcnn: rdarts_darts_c10', '35.00', '55.00', '25.50', '-', '-'],
        ['faster-rcnn: V2', '-', '-', '-', '-', '-'],
        ['retinanet: ResNet50', '-', '-', '-', '36.5', '-'],
        ['faster-rcnn: ResNet50', '-', '-', '-', '37.4', '-'],
    ]
    note = note_on(study)
    assert 'retinanet: ResNet50: published figures only, not run here.\n' in note
    assert 'retinanet: V2: published' not in note and 'random weights' not in note
    assert 'random weights' in note_on(plan(retrain=None))
    table = detection_table(study, 'voc0712', {'retinanet: V2': {0: dict(mAP=70.0)}})
    assert table.header == ['detector: network', 'mAP']  # nothing of it is published
    assert table.rows[1] == ['retinanet: V2', '70.00'] and len(table.rows) == 4


TINY = """
def sizes(root):
    found = {{}}
    for loader, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        data = f'{{loader}}_dataloader.dataset'
        found[f'{{data}}.data_root'] = root
        found[f'{{data}}.ann_file'] = f'annotations/instances_{{split}}.json'
        found[f'{{data}}.data_prefix.img'] = f'{{split}}/'
        found[f'{{data}}.indices'] = 2
        found[f'{{data}}.pipeline.{{1 + (split == "train")}}.scale'] = (64, 64)
        found[f'{{loader}}_dataloader.num_workers'] = 0
        found[f'{{loader}}_dataloader.persistent_workers'] = False
    for evaluator in ('val_evaluator', 'test_evaluator'):
        found[f'{{evaluator}}.ann_file'] = root + 'annotations/instances_val.json'
    return found


study = dict(
    kind='detection', title='Tiny', space='darts', networks=dict(V2='DARTS_V2'),
    detectors=['retinanet'], data=['coco'], retrain='darts_imagenet',
    published=dict(coco={{'retinanet: ResNet50': dict(AP=36.5)}}),
    small=dict(
        says='2 images', from_scratch=True,
        options={{
            'model.backbone.channels': 4, 'model.backbone.num_cells': 3,
            'model.neck.in_channels': [4, 16, 32, 64], 'model.neck.out_channels': 16,
            'model.bbox_head.in_channels': 16, 'model.bbox_head.feat_channels': 16,
            'model.test_cfg.score_thr': 0.0, 'train_cfg.max_epochs': 1,
        }},
        by_data=dict(coco=sizes({root!r})),
    ),
)
"""


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not installed, reason='detection is not installed: make install-detection')
def test_a_tiny_study(data_root, tmp_path):
    study, work = tmp_path / 'tiny.py', tmp_path / 'work'
    study.write_text(TINY.format(root=f'{data_root}/coco_mini/'))
    command = ['analysis/compare.py', study, '--small', '--work-dir', work]
    done = run_tool(command, timeout=400)
    assert done.code == 0, done.out + done.err
    text, data = (work / 'compare.txt').read_text(), json.loads((work / 'compare.json').read_text())
    assert text.startswith('Detection on COCO 2017; Tiny; small: 2 images\n')
    assert 'each detector began from random weights' in text
    row = data['detection']['coco']['retinanet: V2']['0']
    folder = work / 'V2' / 'seed_0' / 'retinanet_darts_fpn_1x_coco'
    found = json.loads((folder / 'evaluation' / 'figures.json').read_text())
    assert row['AP'] == 100 * found['coco/bbox_mAP'] and 0 <= row['AP'] <= row['AP50'] <= 100
    cells = next(line for line in text.splitlines() if line.startswith('retinanet: V2 ')).split()
    assert cells[2:] == [*(f'{row[column]:.2f}' for column in ('AP', 'AP50', 'AP75')), '-']
    config = (folder / 'config.py').read_text()
    assert 'init_cfg=None' in config and 'norm_eval=False' in config
    again = run_tool(command)  # nothing is trained again
    assert again.code == 0 and 'ended   ' not in again.out
    assert (work / 'compare.txt').read_text() == text
