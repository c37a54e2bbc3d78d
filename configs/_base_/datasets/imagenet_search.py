"""ImageNet-1k for a search: 10 % of the training images for the weights, 2.5 % for alpha.

Both are drawn class by class; `$RDARTS_DATA/imagenet` holds `train/<class>/` and `val/<class>/`.
"""

_base_ = ['./imagenet.py']

train_pipeline = [step for step in _base_.train_pipeline if step.type != 'ColorJitter']
train_set = dict(
    type='rdarts.ImageNetFolder',
    split='train',
    pipeline=train_pipeline,
)
# of 12.5 % of the images, four fifths are the weights'
search_split = dict(
    type='rdarts.SearchSplit', subset=0.125, fraction=0.8, mode='stratified', seed=0
)

train_dataloader = dict(
    batch_size=256,
    drop_last=True,
    dataset=dict(_delete_=True, part='weights', dataset=train_set, **search_split),
)
arch_dataloader = dict(
    batch_size=256,
    drop_last=True,
    sampler=dict(type='rdarts.SeededSampler', name='arch'),
    dataset=dict(part='alpha', dataset=train_set, **search_split),
    **_base_.loader,
)
val_dataloader = dict(
    batch_size=256,
    dataset=dict(
        _delete_=True,
        part='alpha',
        dataset=dict(train_set, pipeline=_base_.test_pipeline),
        **search_split,
    ),
)
test_dataloader = dict(batch_size=256, sampler=dict(name='test'))
