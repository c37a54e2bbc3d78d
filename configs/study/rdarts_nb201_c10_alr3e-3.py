"""r-DARTS in NAS-Bench-201 on CIFAR-10, but alpha learns at 3e-3, ten times the printed rate."""

_base_ = ['../search/rdarts_nb201_c10.py']

arch_optimizer = dict(lr=3e-3)
