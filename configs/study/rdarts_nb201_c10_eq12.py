"""r-DARTS in NAS-Bench-201 on CIFAR-10: Eq. 12's sign for two epochs, then Eq. 15's.

Entropy is rewarded first, so that no operation leads early, and penalised afterwards.
"""

_base_ = ['../search/rdarts_nb201_c10.py']

default_hooks = dict(
    architect=dict(
        lambda_=dict(_delete_=True, points=[(0, -0.75), (2, 0.75)], interpolation='step'),
        signed=True,
    )
)
