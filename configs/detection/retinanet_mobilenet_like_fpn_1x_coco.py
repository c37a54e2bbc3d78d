"""RetinaNet over a MobileNet-like network on COCO 2017, 12 epochs.

Features of strides 4 to 32; the FPN adds the others. 8 GPUs x 2 images, as mmdet; with others set
`auto_scale_lr.enable=True`.
"""

_base_ = [
    '../_base_/models/retinanet_mobilenet_like_fpn.py',
    '../_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/detection_runtime.py',
]

optim_wrapper = dict(optimizer=dict(lr=0.01))
