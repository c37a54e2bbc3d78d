"""DARTS, first order, in S2 of RobustDARTS (Zela et al. 2020) on CIFAR-10: 50 epochs.

DARTS's own settings; no cutout, which RobustDARTS's scripts have on (docs/en/configs.md).
"""

_base_ = ['./darts_darts_c10.py']

model = dict(backbone=dict(space='s2'))
