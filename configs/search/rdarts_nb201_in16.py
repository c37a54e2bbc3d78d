"""r-DARTS in NAS-Bench-201 on ImageNet16-120: lambda .75, 5 epochs, as the paper has for CIFAR.

The paper searches CIFAR only in this space, so both numbers are our choice for this set. Its
appendix is not available: the other settings are those of beta-DARTS, whose schedule of 100
epochs is stopped after the fifth.
"""

_base_ = ['./darts_nb201_in16.py']

default_hooks = dict(architect=dict(type='rdarts.BERArchitectHook', lambda_=0.75))
train_cfg = dict(max_epochs=5)
