"""Images of one's own in class folders: half of train for the weights, half for alpha."""

# What follows from these is filled in: see docs/en/configs.md
data_root = None  # $RDARTS_DATA/image_folder, else data/image_folder
image_size = 224
num_classes = None  # as many as there are folders
limit = None  # images of each data set, for a try

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
search_split = dict(type='rdarts.SearchSplit', fraction=0.5, mode='stratified', seed=0)
loader = dict(
    num_workers=2,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
)

train_dataloader = dict(
    batch_size=64,
    drop_last=True,
    sampler=dict(type='rdarts.SeededSampler', name='train'),
    dataset=dict(part='weights', dataset=train_set, **search_split),
    **loader,
)
arch_dataloader = dict(
    batch_size=64,
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
        dataset=dict(type='rdarts.ImageFolder', split='train', pipeline=test_pipeline),
        **search_split,
    ),
    **loader,
)
val_evaluator = dict(type='Accuracy', topk=(1,))
val_cfg = dict()

test_dataloader = dict(
    batch_size=256,
    sampler=dict(type='rdarts.SeededSampler', name='test', shuffle=False, round_up=True),
    dataset=dict(type='rdarts.ImageFolder', split='val', pipeline=test_pipeline),
    **loader,
)
test_evaluator = val_evaluator
test_cfg = dict()
