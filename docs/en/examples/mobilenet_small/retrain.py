"""A network of the small MobileNet-like space: 40 epochs at 64 pixels."""

_base_ = ['../../../../configs/retrain/mobilenet_like_imagenet.py']

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
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=image_size * 8 // 7, edge='short'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(
    batch_size=32, dataset=dict(dataset=dict(pipeline=train_pipeline)), **loader
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline), **loader)
test_dataloader = val_dataloader

schedule_epochs = 40
param_scheduler = dict(T_max=schedule_epochs, end=schedule_epochs)
train_cfg = dict(max_epochs=schedule_epochs, val_interval=20)
