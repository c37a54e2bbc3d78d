"""Eq. 12's sign for two epochs, then Eq. 15's, each with the lambda .75 of NAS-Bench-201.

Entropy is rewarded first, so that no operation leads early, and penalised afterwards.
"""

default_hooks = dict(
    architect=dict(
        lambda_=dict(_delete_=True, points=[(0, -0.75), (2, 0.75)], interpolation='step'),
        signed=True,
    )
)
