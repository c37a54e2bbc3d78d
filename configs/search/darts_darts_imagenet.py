"""DARTS, first order, in its own space on a subset of ImageNet-1k, with the settings of PC-DARTS.

DARTS's authors search CIFAR-10 alone. Batch 1024 is that of all GPUs together: with
`dist_train.sh CONFIG 8` set `train_dataloader.batch_size=128 arch_dataloader.batch_size=128`.
"""

_base_ = [
    '../_base_/models/darts_supernet.py',
    '../_base_/datasets/imagenet_search.py',
    '../_base_/schedules/search_pcdarts_imagenet.py',
    '../_base_/search_runtime.py',
]

model = dict(backbone=dict(stem='imagenet'))
train_dataloader = dict(batch_size=1024)
arch_dataloader = dict(batch_size=1024)
default_hooks = dict(architect=dict(start_epoch={{_base_.warmup_epochs}}))
