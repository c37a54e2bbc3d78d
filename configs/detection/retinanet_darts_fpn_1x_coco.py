"""RetinaNet over a DARTS network on COCO 2017, 12 epochs.

Features of strides 4 to 32. 8 GPUs x 2 images, as mmdet; with others set
`auto_scale_lr.enable=True`.
"""

_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/detection_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='rdarts.DARTSNet',
        genotype='DARTS_V2',  # --genotype FILE, WORK_DIR or NAME
        stem='imagenet',
        channels=48,
        num_cells=14,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint=None),  # weights of configs/retrain
    ),
    neck=dict(in_channels=[48, 192, 384, 768]),
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
