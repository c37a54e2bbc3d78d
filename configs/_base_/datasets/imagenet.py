"""ImageNet-1k at 224 x 224 for a derived network, as DARTS trains on it.

`$RDARTS_DATA/imagenet` holds `train/<class>/` and `val/<class>/`.
"""

# What follows from these is filled in: see docs/en/configs.md
data_root = None  # $RDARTS_DATA/imagenet, else data/imagenet
image_size = 224
num_classes = 1000
limit = None  # images of each data set, for a try

data_preprocessor = dict(
    # R, G, B in 0 .. 255; LoadImageFromFile gives B, G, R.
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', edge='short'),
    dict(type='CenterCrop'),
    dict(type='PackInputs'),
]

loader = dict(
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
)

train_dataloader = dict(
    batch_size=128,
    sampler=dict(type='rdarts.SeededSampler', name='train'),
    dataset=dict(
        type='rdarts.SeededDataset',
        dataset=dict(
            type='rdarts.ImageNetFolder',
            split='train',
            pipeline=train_pipeline,
        ),
    ),
    **loader,
)
val_dataloader = dict(
    batch_size=128,
    sampler=dict(type='rdarts.SeededSampler', name='val', shuffle=False, round_up=True),
    dataset=dict(type='rdarts.ImageNetFolder', split='val', pipeline=test_pipeline),
    **loader,
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
val_cfg = dict()
test_dataloader = val_dataloader
test_evaluator = val_evaluator
test_cfg = dict()
