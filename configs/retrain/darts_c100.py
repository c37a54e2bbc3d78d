"""A cell of the DARTS space on CIFAR-100: 36 channels, 20 cells, 600 epochs, as DARTS retrains.

Also for cells of S1 to S4.
"""

_base_ = [
    '../_base_/models/darts_net_cifar.py',
    '../_base_/datasets/cifar100_retrain.py',
    '../_base_/retrain_darts_runtime.py',
    '../_base_/schedules/retrain_darts_cifar.py',
]
