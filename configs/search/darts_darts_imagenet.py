"""DARTS, first order, in its own space on a subset of ImageNet-1k, with the settings of PC-DARTS.

Batches of 1024 are those of all GPUs together: with `dist_train.sh CONFIG 8` set both sizes to 128.
"""

_base_ = [
    '../_base_/models/darts_supernet.py',
    '../_base_/datasets/imagenet_search.py',
    '../_base_/schedules/search_pcdarts_imagenet.py',
    '../_base_/search_runtime.py',
]

model = dict(backbone=dict(stem='imagenet'))
train_dataloader = arch_dataloader = dict(batch_size=1024)
default_hooks = dict(
    architect=dict(
        start_epoch={{_base_.warmup_epochs}},
        arch_clip_grad={{_base_.optim_wrapper.clip_grad.max_norm}},
    )
)
