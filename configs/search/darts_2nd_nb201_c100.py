"""DARTS (Liu et al. 2019), second order (unrolled), in NAS-Bench-201 on CIFAR-100.

100 epochs, with the settings that beta-DARTS publishes for this space.
"""

_base_ = ['./darts_nb201_c100.py']

default_hooks = dict(architect=dict(order=2))
