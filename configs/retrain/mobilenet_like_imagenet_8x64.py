"""A net of the MobileNet-like space on ImageNet: 300 epochs, 8 x 64 (ProxylessNAS's README).

With other than 8 GPUs, set `train_dataloader.batch_size` to 512 divided by their number.
"""

_base_ = [
    '../_base_/models/mobilenet_like_net.py',
    '../_base_/datasets/imagenet_proxyless.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/retrain_proxyless_8x64.py',
]

train_dataloader = dict(batch_size=64)
