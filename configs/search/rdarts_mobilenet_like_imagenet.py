"""r-DARTS in the MobileNet-like space on a subset of ImageNet-1k: lambda 1 (the paper, AAAI 2026).

The paper's appendix is not available: the other settings are those of DARTS in this space.
"""

_base_ = ['./darts_mobilenet_like_imagenet.py']

default_hooks = dict(architect=dict(type='rdarts.BERArchitectHook', lambda_=1.0))
