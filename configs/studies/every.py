"""Every method in NAS-Bench-201, searched on CIFAR-10: those that ask its table as well.

Each method has its own published settings; one that does not fit the space is a row that says why.
"""

_base_ = ['../_base_/studies/nb201_small.py']

study = dict(
    title='Every method: NAS-Bench-201',
    methods=['all'],
    spaces=['nb201'],
    data=['c10'],
    seeds=3,
)
