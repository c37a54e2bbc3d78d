"""DARTS, first order, in the MobileNet-like space on CIFAR-10: 50 epochs.

The stem leaves out two strides of 2. Optimizers and schedule are those of DARTS in its own space.
"""

_base_ = [
    '../_base_/models/mobilenet_like_supernet.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/search_d0.py',
    '../_base_/search_runtime.py',
]

model = dict(
    backbone=dict(stem='cifar'),
    head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss', loss_weight=1.0)),
)
