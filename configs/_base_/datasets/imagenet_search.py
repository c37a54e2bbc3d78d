"""ImageNet-1k for a search: 10 % of the training images for the weights, 2.5 % for alpha.

Both are drawn class by class; `$RDARTS_DATA/imagenet` holds `train/<class>/` and `val/<class>/`.
"""

data_preprocessor = dict(
    num_classes=1000,
    # R, G, B in 0 .. 255; LoadImageFromFile gives B, G, R.
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]

data_root = None  # $RDARTS_DATA/imagenet, else data/imagenet
train_set = dict(
    type='rdarts.ImageNetFolder', split='train', data_root=data_root, pipeline=train_pipeline
)
# of 12.5 % of the images, four fifths are the weights'
search_split = dict(
    type='rdarts.SearchSplit', subset=0.125, fraction=0.8, mode='stratified', seed=0
)
loader = dict(
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
)

train_dataloader = dict(
    batch_size=256,
    drop_last=True,
    sampler=dict(type='rdarts.SeededSampler', name='train'),
    dataset=dict(part='weights', dataset=train_set, **search_split),
    **loader,
)
arch_dataloader = dict(
    batch_size=256,
    drop_last=True,
    sampler=dict(type='rdarts.SeededSampler', name='arch'),
    dataset=dict(part='alpha', dataset=train_set, **search_split),
    **loader,
)

val_dataloader = dict(
    batch_size=256,
    sampler=dict(type='rdarts.SeededSampler', name='val', shuffle=False, round_up=True),
    dataset=dict(
        part='alpha',
        dataset=dict(
            type='rdarts.ImageNetFolder',
            split='train',
            data_root=data_root,
            pipeline=test_pipeline,
        ),
        **search_split,
    ),
    **loader,
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
val_cfg = dict()

test_dataloader = dict(
    batch_size=256,
    sampler=dict(type='rdarts.SeededSampler', name='test', shuffle=False, round_up=True),
    dataset=dict(
        type='rdarts.ImageNetFolder', split='val', data_root=data_root, pipeline=test_pipeline
    ),
    **loader,
)
test_evaluator = val_evaluator
test_cfg = dict()
