"""Faster R-CNN over a MobileNet-like network on VOC 2007 and 2012: 4 epochs of three times all.

Features of strides 4 to 32; the FPN adds the others. 8 GPUs x 2 images, as mmdet; with others set
`auto_scale_lr.enable=True`.
"""

_base_ = [
    '../_base_/models/faster-rcnn_mobilenet_like_fpn.py',
    '../_base_/datasets/voc0712_detection.py',
    '../_base_/schedules/detection_voc.py',
    '../_base_/detection_runtime.py',
]

model = dict(roi_head=dict(bbox_head=dict(num_classes=20)))
