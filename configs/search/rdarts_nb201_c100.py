"""r-DARTS in NAS-Bench-201 on CIFAR-100: lambda .75, 5 epochs (the paper, AAAI 2026).

The paper's appendix is not available: the other settings are those of beta-DARTS, whose
schedule of 100 epochs is stopped after the fifth.
"""

_base_ = ['./darts_nb201_c100.py']

default_hooks = dict(architect=dict(type='rdarts.BERArchitectHook', lambda_=0.75))
train_cfg = dict(max_epochs=5)
