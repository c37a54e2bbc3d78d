"""RetinaNet over a NAS-Bench-201 network."""

_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', './nb201_detection_backbone.py']

model = dict(
    backbone={{_base_.searched.backbone}},
    neck=dict(in_channels={{_base_.searched.widths}}),
)
