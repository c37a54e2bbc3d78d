"""r-DARTS in NAS-Bench-201 on CIFAR-10, but lambda grows from 0 to .75 over the five epochs."""

_base_ = ['../search/rdarts_nb201_c10.py']

default_hooks = dict(architect=dict(lambda_=dict(_delete_=True, points=[(0, 0.0), (4, 0.75)])))
