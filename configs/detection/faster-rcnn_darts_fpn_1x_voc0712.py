"""Faster R-CNN over a DARTS network on VOC 2007 and 2012, 4 epochs of three times the images.

Features of strides 4 to 32. 8 GPUs x 2 images, as mmdet; with others set
`auto_scale_lr.enable=True`.
"""

_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/voc0712_detection.py',
    '../_base_/schedules/detection_voc.py',
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
    roi_head=dict(bbox_head=dict(num_classes=20)),
)
