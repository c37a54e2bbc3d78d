"""DARTS (Liu et al. 2019), second order (unrolled), in its own space on CIFAR-10: 50 epochs."""

_base_ = ['./darts_darts_c10.py']

default_hooks = dict(architect=dict(order=2))
