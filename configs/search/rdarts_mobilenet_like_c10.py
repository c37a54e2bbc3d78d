"""r-DARTS in the MobileNet-like space on CIFAR-10: lambda 1, 50 epochs."""

_base_ = ['./darts_mobilenet_like_c10.py']

default_hooks = dict(architect=dict(type='rdarts.BERArchitectHook', lambda_=1.0))
