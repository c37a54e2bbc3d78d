"""Networks of the DARTS space as backbones of detectors, on COCO 2017 and VOC 2007 (App. G).

The appendix is not available: its detectors, rows and figures are not known. These are RetinaNet
and Faster R-CNN with mmdet's schedules, 12 epochs on COCO, and on VOC 4 epochs of three times the
images of 2007 and 2012, tested on 2007. Each network is trained on ImageNet before. Published are
mmdetection's own figures of ResNet-50 with the same schedule (its model zoo).

`small` reads `coco_mini` (`annotations/instances_{train,val}.json`, `train/`, `val/`) and
`voc_mini` (`VOC2007/`) where data are.
"""


def coco(root):
    """Options of small images in the form of COCO."""
    found = {}
    for loader, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        data, file = f'{loader}_dataloader.dataset', f'annotations/instances_{split}.json'
        found[f'{data}.data_root'] = root
        found[f'{data}.ann_file'] = file
        found[f'{data}.data_prefix.img'] = f'{split}/'
        found[f'{data}.pipeline.{1 + (split == "train")}.scale'] = (192, 192)
        if split == 'val':
            found[f'{loader}_evaluator.ann_file'] = root + file
    return found


def voc(root):
    """Options of small images in the form of VOC, where 2007's stand for 2012's."""
    found = {'train_dataloader.dataset.times': 1}
    inner = 'train_dataloader.dataset.dataset.datasets'
    for data in (f'{inner}.0', f'{inner}.1', 'val_dataloader.dataset', 'test_dataloader.dataset'):
        found[f'{data}.data_root'] = root
        found[f'{data}.pipeline.{1 + data.startswith(inner)}.scale'] = (192, 192)
    found[f'{inner}.1.ann_file'] = 'VOC2007/ImageSets/Main/trainval.txt'
    found[f'{inner}.1.data_prefix.sub_data_root'] = 'VOC2007/'
    return found


study = dict(
    kind='detection',
    title='Detection',
    space='darts',
    searches=['darts_darts_c10', 'rdarts_darts_c10'],
    networks=dict(DARTS_V1='DARTS_V1', DARTS_V2='DARTS_V2', PC_DARTS_CIFAR='PC_DARTS_cifar'),
    detectors=['retinanet', 'faster-rcnn'],
    data=['coco', 'voc0712'],
    seeds=1,
    retrain='darts_imagenet',
    options={'auto_scale_lr.enable': True},
    published=dict(
        coco={'retinanet: ResNet50': dict(AP=36.5), 'faster-rcnn: ResNet50': dict(AP=37.4)},
    ),
    small=dict(
        says='from random weights, which gives an AP near 0; 16 channels, 8 cells, of Faster R-CNN '
        '128 boxes an image and layers of 256; images of 192 pixels; coco_mini (100 and 28 images, '
        '12 epochs) and voc_mini (100 and 50, 4 epochs of twice the images); searched with 8 '
        'channels, 5 cells, an eighth of CIFAR-10, 10 epochs',
        from_scratch=True,
        search_options={
            'epochs': 10,
            'model.backbone.channels': 8,
            'model.backbone.num_cells': 5,
            'limit': 6250,
        },
        options={
            'model.backbone.channels': 16,
            'model.backbone.num_cells': 8,
            'model.neck.in_channels': [16, 64, 128, 256],
            'optim_wrapper.clip_grad': {'max_norm': 10},
            'train_cfg.val_interval': 12,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'val_dataloader.num_workers': 0,
            'val_dataloader.persistent_workers': False,
            'test_dataloader.num_workers': 0,
            'test_dataloader.persistent_workers': False,
        },
        by_detector={
            'retinanet': {'model.test_cfg.score_thr': 0.0},
            'faster-rcnn': {
                'model.roi_head.bbox_head.fc_out_channels': 256,
                'model.train_cfg.rcnn.sampler.num': 128,
                'model.test_cfg.rcnn.score_thr': 0.0,
            },
        },
        by_data=dict(
            coco={**coco('{{$RDARTS_DATA:data}}/coco_mini/'), 'param_scheduler.0.end': 100},
            voc0712=voc('{{$RDARTS_DATA:data}}/voc_mini/'),
        ),
    ),
)
