"""A net of the MobileNet-like space on ImageNet: 300 epochs, batch 256 (ProxylessNAS's code)."""

_base_ = [
    '../_base_/models/mobilenet_like_net.py',
    '../_base_/datasets/imagenet_proxyless.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/retrain_proxyless.py',
]

train_dataloader = dict(batch_size=256)
