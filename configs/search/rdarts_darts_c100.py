"""r-DARTS in the DARTS space on CIFAR-100: lambda 1, 50 epochs.

The paper has lambda 1 for its search on CIFAR-10 (AAAI 2026); taking it here is our choice.
The paper's appendix is not available: the other settings are DARTS's, which beta-DARTS has in
this space too. All eight operations, `none` included, and no perturbation of alpha, whereas
beta-DARTS's published code leaves `none` out and perturbs.
"""

_base_ = ['./darts_darts_c100.py']

default_hooks = dict(architect=dict(type='rdarts.BERArchitectHook', lambda_=1.0))
