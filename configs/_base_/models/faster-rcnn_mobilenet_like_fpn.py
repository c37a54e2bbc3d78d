"""Faster R-CNN over a MobileNet-like network."""

_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', './mobilenet_like_detection_backbone.py']

model = dict(
    backbone={{_base_.searched.backbone}},
    neck=dict(in_channels={{_base_.searched.widths}}),
)
