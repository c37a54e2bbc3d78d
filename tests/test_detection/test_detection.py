"""Searched networks as backbones of mmdet: training, resuming, evaluation, and bad data."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from forks import unmeasured
from helpers import TOOLS, Finished, run_tool
from mmengine.config import Config

from rdarts.apis import build_net
from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.errors import UserError

CONFIGS = TOOLS.parent / 'configs'
NAMES = sorted(path.stem for path in (CONFIGS / 'detection').glob('*.py'))
CELL = '|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|'
LAYERWISE = ' - '.join(
    ['mbconv_k3_e6', 'skip_connect', 'mbconv_k5_e3', 'mbconv_k7_e6'] * 5 + ['mbconv_k3_e3']
)
GENOTYPES = dict(nb201=CELL, darts='DARTS_V2', mobilenet_like=LAYERWISE)
installed = all(importlib.util.find_spec(name) for name in ('mmdet', 'mmcv'))
installed = installed and importlib.util.find_spec('mmcv._ext')
pytestmark = pytest.mark.skipif(
    not installed, reason='detection is not installed: make install-detection'
)
SCRATCH = [
    *('model.backbone.init_cfg=None', 'model.backbone.frozen_stages=-1'),
    'model.backbone.norm_eval=False',
]


def load(name: str, options: dict | None = None) -> Config:
    cfg = load_config(CONFIGS / 'detection' / f'{name}.py', options)
    chosen = [text for net, text in GENOTYPES.items() if f'_{net}_' in name]
    set_genotype(cfg, *chosen)
    return cfg


# Configs


def test_there_is_one_for_each_network_detector_and_data_set():
    assert NAMES == sorted(
        f'{detector}_{net}_fpn_1x_{data}'
        for detector in ('retinanet', 'faster-rcnn')
        for net in GENOTYPES
        for data in ('coco', 'voc0712')
    )


@pytest.mark.parametrize('name', NAMES)
def test_numbers(name):
    cfg = load(name)
    detector, *_, data = name.split('_')
    classes = {'coco': 80, 'voc0712': 20}[data]
    head = cfg.model.bbox_head if detector == 'retinanet' else cfg.model.roi_head.bbox_head
    assert head.num_classes == classes
    assert cfg.train_cfg.max_epochs == {'coco': 12, 'voc0712': 4}[data]
    rate = cfg.optim_wrapper.optimizer.lr
    assert rate == (0.02 if (detector, data) == ('faster-rcnn', 'coco') else 0.01)
    if data == 'voc0712':
        assert cfg.train_dataloader.dataset.times == 3
        assert cfg.val_evaluator.type == 'VOCMetric' and cfg.val_evaluator.metric == 'mAP'
        assert cfg.val_evaluator.eval_mode == '11points'
    else:
        assert cfg.val_evaluator.type == 'rdarts.CheckedCocoMetric'
        milestones = [s.milestones for s in cfg.param_scheduler if 'milestones' in s]
        assert milestones == [[8, 11]]
    assert cfg.default_hooks.checkpoint.type == 'rdarts.AtomicCheckpointHook'
    assert cfg.default_scope == 'mmdet'


@pytest.mark.parametrize('name', [n for n in NAMES if n.endswith('coco')])
@pytest.mark.parametrize('size', [(128, 160), (131, 97)])
def test_the_detector_takes_its_features_at_their_strides(name, size):
    from mmdet.registry import MODELS

    cfg = load(name)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        levels = model.neck(model.backbone(torch.zeros(1, 3, *size)))
    head = cfg.model.bbox_head if 'retinanet' in name else cfg.model.rpn_head
    strides = head.anchor_generator.strides
    assert len(levels) == 5
    for level, stride in zip(levels, strides, strict=True):
        assert level.shape[2:] == tuple(-(-side // stride) for side in size), stride


def test_without_weights_a_config_says_what_to_do():
    with pytest.raises(UserError) as caught:
        check_model(load('retinanet_darts_fpn_1x_coco'))
    assert 'model.backbone.init_cfg.checkpoint=FILE' in str(caught.value)
    assert 'model.backbone.norm_eval=False' in str(caught.value)
    cfg = load('retinanet_darts_fpn_1x_coco', {'model.backbone.init_cfg': None})
    with pytest.raises(UserError, match='model.backbone.frozen_stages=-1'):
        check_model(cfg)  # frozen, but not trained
    check_model(cfg, starts=False)
    cfg = load_config(CONFIGS / 'detection' / 'retinanet_nb201_fpn_1x_coco.py')
    with pytest.raises(UserError, match='needs a genotype: --genotype FILE'):
        check_model(cfg)


def test_the_neck_must_take_the_channels_of_the_network():
    cfg = load('retinanet_darts_fpn_1x_coco', {'model.backbone.channels': 16})
    with pytest.raises(UserError) as caught:
        check_model(cfg, starts=False)
    assert 'model.neck.in_channels=[16,64,128,256]' in str(caught.value)


def test_without_mmdetection_one_line_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    for missing, text in (('mmdet', 'mmdetection'), ('mmcv._ext', 'compiled operators')):
        monkeypatch.setattr(
            importlib.util, 'find_spec', lambda n, m=missing: None if n == m else find(n)
        )
        with pytest.raises(UserError, match=text) as caught:
            load_config(CONFIGS / 'detection' / 'retinanet_darts_fpn_1x_coco.py')
        assert 'make install-detection' in str(caught.value)


# Runs


def coco_options(root: Path, score: str = 'model.test_cfg.score_thr') -> list[str]:
    options = [f'val_evaluator.ann_file={root}/annotations/instances_val.json', *SCRATCH]
    options.append(f'test_evaluator.ann_file={root}/annotations/instances_val.json')
    for loader, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        data = f'{loader}_dataloader.dataset'
        options += [
            f'{data}.data_root={root}/',
            f'{data}.ann_file=annotations/instances_{split}.json',
            f'{data}.data_prefix.img={split}/',
            f'{data}.indices={8 if split == "train" else 4}',
            f'{data}.pipeline.{1 + (split == "train")}.scale=(96,96)',
            f'{loader}_dataloader.num_workers=0',
            f'{loader}_dataloader.persistent_workers=False',
        ]
    return [
        *options,
        *('train_dataloader.batch_size=2', 'default_hooks.logger.interval=1'),
        # after a few steps no score is above mmdet's thresholds
        f'{score}=0.0',
        'train_cfg.max_epochs=2',
    ]


SMALL = {
    'darts': ['model.backbone.channels=4', 'model.backbone.num_cells=3',
              'model.neck.in_channels=[4,16,32,64]'],
    'nb201': ['model.backbone.channels=8', 'model.backbone.cells_per_stage=1',
              'model.neck.in_channels=[8,16,32]'],
}  # fmt: skip
# what mmdet's parts take most of their time by, here a fraction of what they have
LITTLE = {
    'retinanet': ['model.bbox_head.feat_channels=32', 'model.bbox_head.stacked_convs=1',
                  'model.test_cfg.nms_pre=100', 'model.test_cfg.max_per_img=20'],
    'faster-rcnn': ['model.rpn_head.feat_channels=32',
                    'model.roi_head.bbox_head.fc_out_channels=32',
                    'model.train_cfg.rpn_proposal.nms_pre=200',
                    'model.train_cfg.rpn_proposal.max_per_img=100',
                    'model.test_cfg.rpn.nms_pre=100', 'model.test_cfg.rpn.max_per_img=50',
                    'model.test_cfg.rcnn.max_per_img=20'],
}  # fmt: skip


def train(name: str, work_dir: Path, options: list[str], *args: object) -> Finished:
    genotype = CELL if 'nb201' in name else 'DARTS_V2'
    config = CONFIGS / 'detection' / f'{name}.py'
    common = ['--genotype', genotype, '--work-dir', work_dir, *args]
    options = [*LITTLE[name.split('_')[0]], *options]
    return run_tool(['train.py', config, *common, '--cfg-options', *options], timeout=400)


def newest(folder: Path) -> dict:
    return read_checkpoint((folder / 'last_checkpoint').read_text().strip())


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize('name', ['retinanet_darts', 'faster-rcnn_nb201'])
def test_coco_trains_resumes_and_evaluates(name, data_root, tmp_path):
    name = f'{name}_fpn_1x_coco'
    score = 'model.test_cfg.rcnn.score_thr' if 'rcnn' in name else 'model.test_cfg.score_thr'
    options = [*coco_options(data_root / 'coco_mini', score), *SMALL[name.split('_')[1]]]
    whole, halves = tmp_path / 'whole', tmp_path / 'halves'
    done = train(name, whole, options)
    assert done.code == 0, done.err
    assert 'coco/bbox_mAP' in _log(whole)
    assert train(name, halves, [*options, 'train_cfg.max_epochs=1']).code == 0
    done = train(name, halves, options, '--resume')
    assert done.code == 0, done.err
    left, right = newest(halves), newest(whole)
    assert left['meta']['iter'] == right['meta']['iter'] == 8
    assert left['state_dict'].keys() == right['state_dict'].keys()
    done = run_tool(
        ['test.py', whole / 'config.py', whole, '--out', tmp_path / 'found.json'], timeout=200
    )
    assert done.code == 0, done.err
    assert 'coco/bbox_mAP' in json.loads((tmp_path / 'found.json').read_text())


def _log(folder: Path) -> str:
    return next(folder.glob('*/vis_data/scalars.json')).read_text()


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize('name', ['retinanet_nb201', 'faster-rcnn_darts'])
def test_voc_trains_and_evaluates(name, data_root, tmp_path):
    name = f'{name}_fpn_1x_voc0712'
    root = data_root / 'voc_mini'
    shutil.copytree(root / 'VOC2007', tmp_path / 'VOCdevkit' / 'VOC2007')
    shutil.copytree(root / 'VOC2007', tmp_path / 'VOCdevkit' / 'VOC2012')
    options = [*SCRATCH, *SMALL[name.split('_')[1]], 'train_cfg.max_epochs=1']
    for loader in ('train', 'val', 'test'):
        inner = [f'{loader}_dataloader.dataset']
        if loader == 'train':
            inner = [f'train_dataloader.dataset.dataset.datasets.{i}' for i in range(2)]
            options.append('train_dataloader.dataset.times=1')
        for data in inner:
            options += [
                f'{data}.data_root={tmp_path}/VOCdevkit/',
                f'{data}.indices=6',
                f'{data}.pipeline.{1 + (loader == "train")}.scale=(96,96)',
            ]
        options += [
            f'{loader}_dataloader.num_workers=0',
            f'{loader}_dataloader.persistent_workers=False',
        ]
    done = train(name, tmp_path / 'run', options)
    assert done.code == 0, done.err
    assert 'pascal_voc/mAP' in _log(tmp_path / 'run')


@pytest.mark.slow
@pytest.mark.data
def test_a_backbone_takes_the_weights_of_a_retraining(data_root, tmp_path):
    torch.manual_seed(0)
    source = build_net('DARTS_V2', stem='imagenet', channels=4, num_cells=3)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'retrained.pth')
    options = [o for o in coco_options(data_root / 'coco_mini') if o not in SCRATCH]
    options += [*SMALL['darts'], f'model.backbone.init_cfg.checkpoint={tmp_path}/retrained.pth']
    options += ['train_cfg.max_epochs=1', 'model.backbone.frozen_stages=3']
    name = 'retinanet_darts_fpn_1x_coco'
    done = train(name, tmp_path / 'run', options)
    assert done.code == 0, done.err
    state = newest(tmp_path / 'run')['state_dict']
    for key, value in source.backbone.state_dict().items():
        assert torch.equal(state[f'backbone.{key}'], value), key
    wrong = [o for o in options if 'num_cells' not in o] + ['model.backbone.num_cells=6']
    done = train(name, tmp_path / 'wrong', wrong)
    assert done.code == 2 and 'does not fit this network' in done.err


PLAIN = """
_base_ = ['mmdet::retinanet/retinanet_r50_fpn_1x_coco.py']
custom_imports = dict(imports=['rdarts.models'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        _delete_=True, type='rdarts.DARTSNet', genotype='DARTS_V2', stem='imagenet', channels=4,
        num_cells=3, out_indices=(0, 1, 2, 3), norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint={checkpoint!r}),
    ),
    neck=dict(in_channels=[4, 16, 32, 64]),
    bbox_head=dict(feat_channels=32, stacked_convs=1),
)
root = {root!r}
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(
        data_root=root, ann_file='annotations/instances_train.json', indices=4,
        data_prefix=dict(img='train/'),
        pipeline=[
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Resize', scale=(96, 96), keep_ratio=True), dict(type='PackDetInputs'),
        ],
    ),
)
val_cfg = val_dataloader = val_evaluator = test_cfg = test_dataloader = test_evaluator = None
train_cfg = dict(max_epochs={epochs})
"""

OURS_IS_NOT_NEEDED = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
cfg = Config.fromfile(sys.argv[1])
cfg.work_dir = sys.argv[2]
cfg.resume = len(sys.argv) > 3
Runner.from_cfg(cfg).train()
"""


@pytest.mark.slow
@pytest.mark.data
def test_an_mmdet_config_names_the_backbone_without_our_tools(data_root, tmp_path):
    import subprocess
    import sys

    torch.manual_seed(0)
    source = build_net('DARTS_V2', stem='imagenet', channels=4, num_cells=3)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'retrained.pth')
    script = tmp_path / 'run.py'
    script.write_text(OURS_IS_NOT_NEEDED)
    for epochs, extra in ((1, []), (2, ['resume'])):
        config = tmp_path / f'plain_{epochs}.py'
        config.write_text(
            PLAIN.format(
                checkpoint=str(tmp_path / 'retrained.pth'),
                root=str(data_root / 'coco_mini') + '/',
                epochs=epochs,
            )
        )
        command = [sys.executable, script, config, tmp_path / 'run', *extra]
        with unmeasured():  # what it runs of ours, the other tests run
            done = subprocess.run(command, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r'Epoch\(train\)\s+\[2\]', done.stdout + done.stderr)
    assert newest(tmp_path / 'run')['meta']['epoch'] == 2


# Bad data


@pytest.fixture
def coco(data_root, tmp_path):
    root = tmp_path / 'coco'
    shutil.copytree(data_root / 'coco_mini', root)
    return root


def change(root: Path, edit) -> None:
    path = root / 'annotations' / 'instances_train.json'
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def load_coco(root: Path):
    from rdarts.datasets.detection import CheckedCocoDataset

    return CheckedCocoDataset(
        data_root=str(root),
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        pipeline=[],
    )


@pytest.mark.data
def test_good_data_is_what_mmdet_reads(coco):
    from mmdet.datasets import CocoDataset

    found = load_coco(coco)
    expected = CocoDataset(
        data_root=str(coco),
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        pipeline=[],
    )
    assert len(found) == len(expected) == 100
    assert found.get_data_info(3) == expected.get_data_info(3)


@pytest.mark.data
@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda d: d['annotations'][7].update(bbox=[1, 2, 0, 4]), 'positive width'),
        (lambda d: d['annotations'][7].update(bbox=[1, 2, 3]), 'but is [1, 2, 3]'),
        (lambda d: d['annotations'][7].update(bbox=[1, 2, 'a', 4]), "but is [1, 2, 'a', 4]"),
        (lambda d: d['annotations'][7].update(category_id=999), 'category 999 is not in the file'),
        (lambda d: d['annotations'][7].update(image_id=-1), 'image -1 is not in the file'),
        (lambda d: d['annotations'][7].pop('bbox'), "an entry lacks 'bbox'"),
        (lambda d: d['images'][7].update(width='wide'), 'an entry is of another form ('),
        (lambda d: d['images'].append(5), 'an entry is of another form ('),
        (lambda d: d['categories'].pop(3), "class 'motorcycle' is no category"),
        (lambda d: d.pop('annotations'), "it has no list 'annotations'"),
    ],
)
def test_malformed_coco_files(coco, edit, message):
    def apply(data):
        if message.startswith('class'):  # a category that no annotation has
            gone = data['categories'][3]['id']
            data['annotations'] = [a for a in data['annotations'] if a['category_id'] != gone]
        edit(data)

    change(coco, apply)
    with pytest.raises(UserError) as caught:
        load_coco(coco)
    assert message in str(caught.value) and 'instances_train.json' in str(caught.value)


@pytest.mark.data
def test_missing_coco_files(coco):
    image = sorted((coco / 'train').iterdir())[0]
    image.unlink()
    with pytest.raises(UserError, match=f'image .*{image.name} is missing'):
        load_coco(coco)
    (coco / 'annotations' / 'instances_train.json').write_text('{')
    with pytest.raises(UserError, match='no JSON'):
        load_coco(coco)
    shutil.rmtree(coco / 'annotations')
    with pytest.raises(UserError, match='cannot read the annotations .*: No such file'):
        load_coco(coco)


@pytest.fixture
def voc(data_root, tmp_path):
    root = tmp_path / 'VOCdevkit'
    shutil.copytree(data_root / 'voc_mini', root)
    return root


def load_voc(root: Path):
    from rdarts.datasets.detection import CheckedVOCDataset

    return CheckedVOCDataset(
        data_root=str(root),
        ann_file='VOC2007/ImageSets/Main/trainval.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        pipeline=[],
    )


@pytest.mark.data
def test_voc_files(voc):
    assert len(load_voc(voc)) == 100
    folder = voc / 'VOC2007'
    path = sorted((folder / 'Annotations').iterdir())[0]
    name = next(n for n in (folder / 'ImageSets/Main/trainval.txt').read_text().split())
    path = folder / 'Annotations' / f'{name}.xml'
    text = path.read_text()
    for wrong, message in (
        (re.sub(r'<name>\w+</name>', '<name>unicorn</name>', text), "of the class 'unicorn'"),
        (re.sub(r'<xmin>.*?</xmin>', '<xmin>9999</xmin>', text), 'xmin < xmax'),
        (re.sub(r'<xmin>.*?</xmin>', '<xmin>left</xmin>', text), 'but is None'),
        (text[: len(text) // 2], 'no XML'),
    ):
        path.write_text(wrong)
        with pytest.raises(UserError) as caught:
            load_voc(voc)
        assert message in str(caught.value) and path.name in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match=f'cannot read the annotation .*{path.name}'):
        load_voc(voc)
    shutil.rmtree(folder / 'Annotations')
    with pytest.raises(UserError, match='no folder Annotations in it, which VOC has'):
        load_voc(voc)
