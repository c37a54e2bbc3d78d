"""A cell of the DARTS space on ImageNet: 48 channels, 14 cells, 250 epochs, batch 1024 (PC-DARTS).

Batch 1024 is that of all GPUs together: with `dist_train.sh CONFIG 8` set
`train_dataloader.batch_size=128`.
"""

_base_ = [
    '../_base_/models/darts_net_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/retrain_pcdarts_imagenet.py',
]

train_dataloader = dict(batch_size=1024)
