"""A cell of the DARTS space on ImageNet: 48 channels, 14 cells, 250 epochs, batch 128 (DARTS)."""

_base_ = [
    '../_base_/models/darts_net_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/retrain_darts_imagenet.py',
]
