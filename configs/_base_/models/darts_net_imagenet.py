"""The derived network of the DARTS space on ImageNet: 48 channels, 14 cells, auxiliary head."""

_base_ = ['./darts_net_cifar.py']

model = dict(
    backbone=dict(channels=48, num_cells=14, stem='imagenet'),
    head=dict(
        auxiliary=dict(stem='imagenet'),
        loss=dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
