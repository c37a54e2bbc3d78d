"""r-DARTS in NAS-Bench-201 on CIFAR-10, but alpha rests for the first two epochs."""

_base_ = ['../search/rdarts_nb201_c10.py']

default_hooks = dict(architect=dict(start_epoch=2))
