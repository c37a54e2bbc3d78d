"""scikit-learn's digits: half of the training images for the weights, half for alpha."""

# What follows from these is filled in: see docs/en/configs.md
image_size = 32
num_classes = 10
limit = None  # images of each data set, for a try

data_preprocessor = dict(
    # Mean and standard deviation of the training images, R, G, B in 0 .. 255.
    mean=[77.836, 77.836, 77.836],
    std=[82.587, 82.587, 82.587],
    to_rgb=False,
)

train_pipeline = [
    dict(type='rdarts.BatchRandomCrop'),
    dict(type='rdarts.BatchPackInputs'),
]
test_pipeline = [dict(type='rdarts.BatchPackInputs')]

train_set = dict(type='rdarts.Digits', split='train', pipeline=train_pipeline)
search_split = dict(type='rdarts.SearchSplit', fraction=0.5, mode='stratified', seed=0)
loader = dict(
    num_workers=0,
    persistent_workers=False,
    collate_fn=dict(type='rdarts.batch_collate'),
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
        dataset=dict(type='rdarts.Digits', split='train', pipeline=test_pipeline),
        **search_split,
    ),
    **loader,
)
val_evaluator = dict(type='Accuracy', topk=(1,))
val_cfg = dict()

test_dataloader = dict(
    batch_size=256,
    sampler=dict(type='rdarts.SeededSampler', name='test', shuffle=False, round_up=True),
    dataset=dict(type='rdarts.Digits', split='test', pipeline=test_pipeline),
    **loader,
)
test_evaluator = val_evaluator
test_cfg = dict()
