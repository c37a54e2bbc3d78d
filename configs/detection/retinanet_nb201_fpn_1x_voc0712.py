"""RetinaNet over a NAS-Bench-201 network on VOC 2007 and 2012, 4 epochs of three times the images.

Features of strides 4 to 16; the FPN adds the others. 8 GPUs x 2 images, as mmdet; with others set
`auto_scale_lr.enable=True`.
"""

_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/voc0712_detection.py',
    '../_base_/schedules/detection_voc.py',
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
    neck=dict(in_channels=[16, 32, 64]),
    bbox_head=dict(num_classes=20),
)
