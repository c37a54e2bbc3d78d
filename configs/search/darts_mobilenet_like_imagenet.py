"""DARTS, first order, in the MobileNet-like space on a subset of ImageNet-1k.

Space and epochs are ProxylessNAS's: 40 of the weights alone, then 120 of both. What else is, and
what is not, stands in `_base_/schedules/search_proxyless.py`.
"""

_base_ = [
    '../_base_/models/mobilenet_like_supernet.py',
    '../_base_/datasets/imagenet_search.py',
    '../_base_/schedules/search_proxyless.py',
    '../_base_/search_runtime.py',
]

default_hooks = dict(architect=dict(start_epoch={{_base_.warmup_epochs}}))
