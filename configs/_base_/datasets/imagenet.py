"""ImageNet-1k at 224 x 224 for a derived network, as DARTS trains on it: all training images.

`$RDARTS_DATA/imagenet` holds `train/<class>/` and `val/<class>/`.
"""

_base_ = ['./imagenet_search.py']

train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
    _base_.train_pipeline[-1],
]

train_dataloader = dict(
    batch_size=128,
    drop_last=False,
    dataset=dict(
        _delete_=True,
        type='rdarts.SeededDataset',
        dataset=dict(type='rdarts.ImageNetFolder', split='train', pipeline=train_pipeline),
    ),
)
val_dataloader = dict(batch_size=128, dataset=dict(_delete_=True, **_base_.test_dataloader.dataset))
test_dataloader = dict(batch_size=128)
arch_dataloader = None
