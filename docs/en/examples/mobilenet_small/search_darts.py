"""DARTS in a small MobileNet-like space: half the width, 11 layers, 64 pixels, ten classes.

5 epochs of the weights alone, then 15 of both; four fifths of the images for the weights.
"""

_base_ = ['../../../../configs/search/darts_mobilenet_like_imagenet.py']

image_size = 64
model = dict(
    backbone=dict(
        space=dict(
            _delete_=True,
            type='mobilenet_like',
            widths=(12, 20, 40, 48, 96, 160),
            depths=(2, 2, 2, 2, 2, 1),
        ),
        stem_channels=16,
        first_channels=8,
        last_channels=320,
    ),
    head=dict(num_classes=10, in_channels=320),
)
data_preprocessor = dict(num_classes=10)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=image_size),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=image_size * 8 // 7, edge='short'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
loader = dict(num_workers=0, persistent_workers=False)
part = dict(subset=1.0, dataset=dict(pipeline=train_pipeline))
train_dataloader = dict(batch_size=32, dataset=part, **loader)
arch_dataloader = dict(batch_size=32, dataset=part, **loader)
val_dataloader = dict(dataset=dict(subset=1.0, dataset=dict(pipeline=test_pipeline)), **loader)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline), **loader)

schedule_epochs = 20
param_scheduler = dict(T_max=schedule_epochs, end=schedule_epochs)
train_cfg = dict(max_epochs=schedule_epochs, val_interval=5)
default_hooks = dict(architect=dict(start_epoch=5))
