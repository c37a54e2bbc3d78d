"""DARTS (Liu et al. 2019), first order, in its own space on CIFAR-100: 50 epochs."""

_base_ = [
    '../_base_/models/darts_supernet.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/search_d0.py',
    '../_base_/search_runtime.py',
]
