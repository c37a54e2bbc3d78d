"""DARTS, second order, in S1 of RobustDARTS (Zela et al. 2020) on CIFAR-100: 50 epochs.

DARTS's own settings; no cutout, which RobustDARTS's scripts have on (docs/en/configs.md).
"""

_base_ = ['./darts_s1_c100.py']

default_hooks = dict(architect=dict(order=2))
