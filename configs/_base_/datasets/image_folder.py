"""Images of one's own in class folders: half of train for the weights, half for alpha."""

_base_ = ['./search_halves.py']

# What follows from these is filled in: see docs/en/configs.md
data_root = None  # $RDARTS_DATA/image_folder, else data/image_folder
image_size = 224
num_classes = None  # as many as there are folders

data_preprocessor = dict(
    # ImageNet's figures, R, G, B in 0 .. 255; LoadImageFromFile gives B, G, R.
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', edge='short'),
    dict(type='CenterCrop'),
    dict(type='PackInputs'),
]

train_set = dict(type='rdarts.ImageFolder', split='train', pipeline=train_pipeline)
loader = dict(
    num_workers=2,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
)

train_dataloader = dict(dataset=dict(dataset=train_set), **loader)
arch_dataloader = dict(dataset=dict(dataset=train_set), **loader)
val_dataloader = dict(
    dataset=dict(dataset=dict(type='rdarts.ImageFolder', split='train', pipeline=test_pipeline)),
    **loader,
)
test_dataloader = dict(
    dataset=dict(type='rdarts.ImageFolder', split='val', pipeline=test_pipeline), **loader
)
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
