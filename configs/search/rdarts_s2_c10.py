"""r-DARTS in S2 of RobustDARTS (Zela et al. 2020) on CIFAR-10: lambda 1, 50 epochs.

The paper gives lambda 1 for the DARTS space; taking it for S2 is our choice. Its appendix is
not available: the other settings are DARTS's. No cutout, which RobustDARTS's scripts have on
(docs/en/configs.md).
"""

_base_ = ['./darts_s2_c10.py']

default_hooks = dict(architect=dict(type='rdarts.BERArchitectHook', lambda_=1.0))
