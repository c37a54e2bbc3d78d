"""Faster R-CNN over a NAS-Bench-201 network on COCO 2017, 12 epochs.

Features of strides 4 to 16; the FPN adds the others. 8 GPUs x 2 images, as mmdet; with others set
`auto_scale_lr.enable=True`.
"""

_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/detection_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='rdarts.NASBench201Net',
        genotype=None,  # --genotype FILE or WORK_DIR
        stem='imagenet',
        channels=16,
        cells_per_stage=5,
        out_indices=(0, 1, 2),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint=None),  # weights of configs/retrain
    ),
    neck=dict(in_channels=[16, 32, 64], add_extra_convs='on_input'),
)
